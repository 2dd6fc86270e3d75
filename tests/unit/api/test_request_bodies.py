from __future__ import annotations

import json

import pytest

from tasques.api.bodies import read_body
from tasques.api.requests import RequestDefaults
from tasques.domain.errors import TooLargeError

NEW = {"queue": "mail", "kind": "send"}


async def problems_of(client, body):
    """What a refused new task is told; the status is 400."""
    answer = await client.post("/tasques", json=NEW | body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_request"
    return answer.json()["message"].split("\n")


@pytest.mark.parametrize(
    ("member", "value", "problem"),
    [
        ("id", "", "id: must not be empty"),
        ("id", 5, "id: must be a valid string"),
        ("id", "x" * 361, "id: must not have more than 360 bytes, has 361"),
        ("id", "é" * 181, "id: must not have more than 360 bytes, has 362"),
        ("queue", "", "queue: must not be empty"),
        ("queue", None, "queue: is required"),
        ("queue", ["mail"], "queue: must be a valid string"),
        ("queue", "q:1", "queue: must not contain ':'"),
        ("queue", "q%", "queue: must not contain '%'"),
        ("queue", "Mail", "queue: must be in lower case"),
        ("queue", "q" * 129, "queue: must not have more than 128 bytes, has 129"),
        ("kind", "", "kind: must not be empty"),
        ("kind", None, "kind: is required"),
        ("kind", "k" * 513, "kind: must not have more than 512 bytes, has 513"),
        ("retry_times", -1, "retry_times: must be greater than or equal to 0"),
        ("retry_times", 2**31, "retry_times: must be less than or equal to 2147483647"),
        ("retry_times", 2**64, "retry_times: must be less than or equal to 2147483647"),
        ("retry_times", 25.0, "retry_times: must be a valid integer"),
        ("retry_times", "25", "retry_times: must be a valid integer"),
        ("retry_times", True, "retry_times: must be a valid integer"),
        ("priority", 2**63, "priority: must be less than or equal to 9223372036854775807"),
        ("priority", 0.5, "priority: must be a valid integer"),
        ("processing_timeout", 5, "processing_timeout: must be a duration in text, such as '30s'"),
        ("processing_timeout", "0s", "processing_timeout: must be longer than zero"),
        ("processing_timeout", "-1s", "processing_timeout: must be longer than zero"),
        ("run_at", 1234567890, "run_at: must be an RFC 3339 instant in text"),
        ("args", [1], "args: must be a JSON object"),
        ("args", "x", "args: must be a JSON object"),
        ("context", 0, "context: must be a JSON object"),
    ],
)
async def test_a_bad_member_is_named(client, member, value, problem):
    assert await problems_of(client, {member: value}) == [problem]


@pytest.mark.parametrize("text", ["5", "", "1d", "1 s", "5M"])
async def test_what_is_no_duration_is_refused(client, text):
    (problem,) = await problems_of(client, {"processing_timeout": text})

    assert problem.startswith(f"processing_timeout: {text!r} is not a duration")


@pytest.mark.parametrize("text", ["", "2030-01-01", "2030-02-30T00:00:00Z", "2030-01-01T00:00:00"])
async def test_what_is_no_instant_is_refused(client, text):
    (problem,) = await problems_of(client, {"run_at": text})

    assert problem.startswith(f"run_at: {text!r} is not an RFC 3339 instant")


async def test_every_fault_has_a_line(client):
    problems = await problems_of(
        client, {"queue": "A B", "kind": "", "priority": "high", "args": [], "run_at": "soon"}
    )

    assert [problem.partition(":")[0] for problem in problems] == [
        "queue",
        "queue",
        "kind",
        "priority",
        "run_at",
        "args",
    ]


async def test_a_refusal_does_not_repeat_what_was_sent(client):
    secret = "secret" * 1000
    answer = await client.post(
        "/tasques",
        json={
            "id": secret,
            "queue": secret,
            "kind": secret,
            "processing_timeout": secret,
            "run_at": secret,
            "priority": secret,
            "args": [secret],
        },
    )

    assert answer.status_code == 400
    assert len(answer.text) < 1000


@pytest.mark.parametrize(
    "body",
    [
        {"id": None, "retry_times": None, "priority": None, "processing_timeout": None},
        {"run_at": None, "args": None, "context": None},
    ],
)
async def test_null_is_the_same_as_absent(client, body):
    answer = await client.post("/tasques", json=NEW | body)

    assert answer.status_code == 201
    assert "null" not in answer.text


async def test_unknown_members_are_ignored(client):
    answer = await client.post("/tasques", json=NEW | {"state": "done", "from_tomorrow": [1]})

    assert answer.status_code == 201
    assert answer.json()["state"] == "queued"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_the_content_type_of_a_request_does_not_matter(client, content_type):
    answer = await client.post(
        "/tasques", content=json.dumps(NEW), headers={"content-type": content_type}
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b'"text"',
        b"1",
        b"{} {}",
        b'{"queue":"mail","kind":"send"} junk',
        b'{"queue":"mail","kind":"send",}',
        b"{'queue':'mail'}",
        b'{"queue":"mail","kind":"send","args":{"x":NaN}}',
        b'{"queue":"mail","kind":"send","args":{"x":-Infinity}}',
        b'{"queue":"mail","kind":"send","args":{"x":"\xff"}}',
        b'{"queue":"mail","kind":"send","args":{"x":"\\ud800"}}',
        b'{"queue":"mail","kind":"send","args":{"\\udfff":1}}',
        b'{"queue":"mail","kind":"send","args":{"x":' + b"9" * 5000 + b"}}",
        b'\xef\xbb\xbf{"queue":"mail","kind":"send"}',
    ],
)
async def test_what_is_no_json_object_is_refused(client, body):
    answer = await client.post("/tasques", content=body)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The body ")


async def test_a_body_of_null_is_an_empty_object(client):
    done = await client.put(
        "/tasques/done/mail/t", content=b"null", headers={"X-TASQUES-WORKER-ID": "w"}
    )
    created = await client.post("/tasques", content=b"null")

    assert done.status_code == 404  # the body was in order
    assert created.json()["message"] == "queue: is required\nkind: is required"


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" + b"0" * 400 + b".5"])
async def test_a_number_beyond_the_doubles_is_refused(client, number):
    answer = await client.post(
        "/tasques", content=b'{"queue":"mail","kind":"send","args":{"a":[{"b":%b}]}}' % number
    )

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("args: must not have numbers beyond")


@pytest.mark.parametrize("member", ["args", "context", "unknown"])
@pytest.mark.parametrize("levels", [150, 151, 199, 200, 1000, 20_000])
@pytest.mark.parametrize("kind", ["objects", "arrays"])
async def test_nesting_ends_at_one_documented_depth(client, member, levels, kind):
    inner = levels - 1
    nested = '{"a":' * inner + "1" + "}" * inner if kind == "objects" else "[" * inner + "]" * inner
    text = f'{{"queue":"mail","kind":"send","{member}":{{"x":{nested}}}}}'

    answer = await client.post("/tasques", content=text)

    if levels <= 150:
        assert answer.status_code == 201
        if member != "unknown":
            assert f'"{member}":{{"x":{nested}}}' in answer.text
    else:
        assert answer.status_code == 400
        assert answer.json()["message"] == (f"{member}: must not be nested deeper than 150 levels")


@pytest.mark.parametrize("levels", [202, 100_000])
async def test_a_deep_body_without_members_is_refused(client, levels):
    answer = await client.post("/tasques", content="[" * levels)

    assert answer.status_code == 400
    assert answer.json()["message"] == "The body: must not be nested deeper than 150 levels"


async def test_a_wide_body_is_not_a_deep_one(client):
    answer = await client.post("/tasques", json=NEW | {"args": {"a": [{}] * 10_000}})

    assert answer.status_code == 201


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"])
async def test_the_zero_instant_means_now(client, text):
    task = (await client.post("/tasques", json=NEW | {"run_at": text})).json()

    assert task["run_at"] > "2026"


async def test_the_zero_instant_with_an_offset_is_taken_literally(client):
    body = NEW | {"run_at": "0001-01-01T00:00:00+00:00"}

    task = (await client.post("/tasques", json=body)).json()

    assert task["run_at"] == "0001-01-01T00:00:00Z"


async def test_an_instant_keeps_its_offset(client):
    body = NEW | {"run_at": "2030-01-02T03:04:05.678900+09:00"}

    task = (await client.post("/tasques", json=body)).json()

    assert task["run_at"] == "2030-01-02T03:04:05.678900+09:00"


# ------------------------------------------------------------------ claims


async def claim_problem(client, body):
    answer = await client.post("/tasques/claims", json=body, headers={"X-TASQUES-WORKER-ID": "w"})
    assert answer.status_code == 400
    return answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "queues: is required"),
        ({"queues": None}, "queues: is required"),
        ({"queues": "mail"}, "queues: must be a valid list"),
        ({"queues": ["mail", 5]}, "queues[1]: must be a valid string"),
        ({"queues": ["mail", "a b"]}, "queues[1]: must not contain ' '"),
        ({"queues": [""]}, "queues[0]: must not be empty"),
        ({"queues": [], "amount": -1}, "amount: must be greater than or equal to 0"),
        ({"queues": [], "amount": 1.5}, "amount: must be a valid integer"),
        ({"queues": [], "block_for": 5}, "block_for: must be a duration in text, such as '30s'"),
    ],
)
async def test_a_bad_claim_is_told_what_is_wrong(client, body, problem):
    assert await claim_problem(client, body) == problem


async def test_a_claim_names_at_most_1024_queues(client):
    names = [f"q{number}" for number in range(1024)]
    allowed = await client.post(
        "/tasques/claims",
        json={"queues": [*names, *names], "block_for": "0s"},
        headers={"X-TASQUES-WORKER-ID": "w"},
    )

    assert allowed.status_code == 200
    assert await claim_problem(client, {"queues": [*names, "one-more"]}) == (
        "queues: must not have more than 1024 queues"
    )


async def test_many_faults_are_told_in_part(client):
    message = await claim_problem(client, {"queues": [f"Q{number}" for number in range(1000)]})

    assert len(message.split("\n")) == 21
    assert message.endswith("\n... and 980 more")


# ------------------------------------------------------------------ sizes


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(client_with):
    body = json.dumps(NEW).encode()
    async with client_with(defaults=RequestDefaults(max_body_size=len(body))) as client:
        fits = await client.post("/tasques", content=body)
        too_large = await client.post("/tasques", content=body + b" ")

    assert fits.status_code == 201
    assert too_large.status_code == 413
    assert too_large.json() == {
        "message": f"The body must not have more than {len(body)} bytes.",
        "code": "too_large",
    }


async def test_a_body_that_does_not_say_its_length_ends_at_the_limit_too(client_with):
    read = 0

    async def chunks():
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 100

    async with client_with(defaults=RequestDefaults(max_body_size=1000)) as client:
        answer = await client.post("/tasques", content=chunks())

    assert answer.status_code == 413
    assert read < 15


async def test_a_body_in_pieces_is_put_together(client):
    async def chunks():
        for byte in json.dumps(NEW):
            yield byte.encode()

    answer = await client.post("/tasques", content=chunks())

    assert answer.status_code == 201


async def test_a_body_in_one_piece_of_unknown_length_ends_at_the_limit_too():
    async def receive():
        return {"type": "http.request", "body": b"12345678901", "more_body": False}

    with pytest.raises(TooLargeError):
        await read_body({"headers": []}, receive, 10)
