from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest
from factories import a_recurring_task

from tasques.domain.errors import RecurringTaskConflictError, StoreUnavailableError
from tasques.domain.instant import parse_instant

DEFINITION = {"queue": "mail", "kind": "send"}
NEW = {"id": "r", "schedule_expression": "0 9 29 2 *", "task_definition": DEFINITION}
FULL = {
    "id": "r",
    "schedule_expression": "30 2 * * MON-FRI",
    "time_zone": "Europe/Berlin",
    "skip_if_outstanding_tasks_exist": True,
    "task_definition": DEFINITION
    | {
        "retry_times": 2,
        "priority": -3,
        "processing_timeout": "5m",
        "args": {"a": [1, 2.5, 12345678901234567890]},
        "context": {"c": None},
    },
    "paused": True,
    "misfire_policy": "fire_all",
}
PATHS = "/recurring_tasques"


async def create(client, **changes):
    answer = await client.post(PATHS, json=NEW | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer, status=400):
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"message", "code"}
    return answer.json()["message"]


async def test_defaults_are_filled_in(client, api):
    made = await create(client)

    (stored,) = api.recurring.stored
    metadata = made.pop("metadata")
    assert made == {
        "id": "r",
        "schedule_expression": "0 9 29 2 *",
        "skip_if_outstanding_tasks_exist": False,
        "task_definition": DEFINITION
        | {"retry_times": 25, "priority": 0, "processing_timeout": "30m0s"},
        "paused": False,
        "misfire_policy": "fire_once",
        "next_fire_at": "2028-02-29T09:00:00Z",
    }
    assert parse_instant(metadata["created_at"]) == stored.created_at
    assert metadata["created_at"] == metadata["modified_at"]
    assert metadata["version"] == {"seq_num": 0, "primary_term": 1}


async def test_what_is_given_is_kept(client):
    made = await create(client, **FULL)

    del made["metadata"]
    expected = FULL["task_definition"] | {"processing_timeout": "5m0s"}
    assert made == FULL | {"task_definition": expected, "next_fire_at": None}


async def test_explicit_nulls_are_as_good_as_nothing(client):
    definition = dict.fromkeys(FULL["task_definition"]) | DEFINITION

    made = await create(client, **dict.fromkeys(FULL) | NEW | {"task_definition": definition})

    assert made["task_definition"]["retry_times"] == 25
    assert "args" not in made["task_definition"]
    assert "time_zone" not in made


async def test_what_was_made_is_listed_and_read(client):
    second, first = await create(client, id="b"), await create(client, id="a")

    listed = await client.get(PATHS)

    assert listed.json() == [first, second]
    assert (await client.get(f"{PATHS}/b")).json() == second


async def test_no_recurring_tasks_are_an_empty_list(client):
    answer = await client.get(PATHS)

    assert (answer.status_code, answer.text) == (200, "[]\n")


async def test_an_id_that_is_taken_is_a_conflict(client):
    await create(client)

    answer = await client.post(PATHS, json=NEW)

    assert answer.status_code == 409
    assert answer.json()["code"] == "recurring_task_already_exists"


async def test_an_update_answers_what_was_stored(client):
    made = await create(client, **FULL)

    answer = await client.put(
        f"{PATHS}/r",
        json={"id": "ignored", "paused": False, "task_definition": {"queue": "post", "kind": "k"}},
    )

    updated = answer.json()
    assert answer.status_code == 200
    assert updated["id"] == "r"
    assert updated["task_definition"] == {
        "queue": "post",
        "kind": "k",
        "retry_times": 25,
        "priority": 0,
        "processing_timeout": "30m0s",
    }
    assert updated["metadata"]["modified_at"] > made["metadata"]["modified_at"]
    assert updated["metadata"]["created_at"] == made["metadata"]["created_at"]
    assert updated["metadata"]["version"] != made["metadata"]["version"]
    assert (updated["time_zone"], updated["misfire_policy"]) == ("Europe/Berlin", "fire_all")
    assert updated["next_fire_at"] is not None
    assert (await client.get(f"{PATHS}/r")).json() == updated


async def test_an_update_of_nothing_is_fine(client):
    made = await create(client)

    answer = await client.put(f"{PATHS}/r", json={})

    different = {"metadata"}
    assert answer.status_code == 200
    assert {k: v for k, v in answer.json().items() if k not in different} == {
        k: v for k, v in made.items() if k not in different
    }


async def test_an_update_that_keeps_meeting_others_is_a_conflict(client, api):
    await create(client)

    async def interfere(task):
        raise RecurringTaskConflictError(task.id)

    api.recurring.before_write = interfere

    answer = await client.put(f"{PATHS}/r", json={"paused": True})

    assert answer.status_code == 409
    assert answer.json()["code"] == "recurring_task_conflict"


async def test_a_deletion_answers_what_was_deleted_once(client):
    made = await create(client)

    answer = await client.delete(f"{PATHS}/r")

    deleted = answer.json()
    assert answer.status_code == 200
    assert deleted["metadata"]["modified_at"] > made["metadata"]["modified_at"]
    assert deleted["next_fire_at"] is None
    assert "is_deleted" not in deleted
    for ask in (
        client.get(f"{PATHS}/r"),
        client.put(f"{PATHS}/r", json={}),
        client.delete(f"{PATHS}/r"),
        client.get(f"{PATHS}/r/upcoming"),
        client.post(f"{PATHS}/r/run"),
    ):
        assert "recurring task 'r'" in refusal(await ask, 404)
    assert (await client.get(PATHS)).json() == []
    assert (await create(client))["next_fire_at"] is not None


async def test_whoever_follows_schedules_is_told_of_each_change(client, api):
    await create(client)
    await client.put(f"{PATHS}/r", json={"paused": True})
    await client.delete(f"{PATHS}/r")

    assert [(task.paused, task.is_deleted) for task in api.changed] == [
        (False, False),
        (True, False),
        (True, True),
    ]


async def test_what_the_schedule_did_last_is_shown(client, api):
    fired_at = datetime.fromisoformat("2026-03-01T12:01:00.004Z")
    api.recurring.store(a_recurring_task(id="r", last_fired_at=fired_at, last_task_id="r@1"))

    shown = (await client.get(f"{PATHS}/r")).json()

    assert (shown["last_fired_at"], shown["last_task_id"]) == ("2026-03-01T12:01:00.004000Z", "r@1")


async def test_the_store_being_away_is_said(client, api):
    api.recurring.failures.append(StoreUnavailableError("away"))

    answer = await client.get(PATHS)

    assert answer.status_code == 503
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", PATHS),
        ("GET", PATHS),
        ("GET", f"{PATHS}/r"),
        ("PUT", f"{PATHS}/r"),
        ("DELETE", f"{PATHS}/r"),
        ("GET", f"{PATHS}/r/upcoming"),
        ("POST", f"{PATHS}/r/run"),
    ],
)
async def test_strangers_are_refused(client_with, method, path):
    async with client_with(users={"anna": "secret"}) as client:
        refused = await client.request(method, path, json=NEW)
        let_in = await client.request(method, path, json=NEW, auth=("anna", "secret"))

    assert refused.status_code == 401
    assert let_in.status_code != 401


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": None}, "id: is required"),
        ({"id": ""}, "id: must not be empty"),
        ({"id": 7}, "id: must be a valid string"),
        ({"id": ".."}, "id: must not be"),
        ({"id": "x" * 331}, "id: must not have more than 330 bytes"),
        ({"schedule_expression": None}, "schedule_expression: is required"),
        ({"schedule_expression": 5}, "schedule_expression: must be a valid string"),
        ({"schedule_expression": ""}, "schedule_expression: must not be empty"),
        ({"schedule_expression": "TZ=UTC"}, "schedule_expression: "),
        ({"schedule_expression": "TZ="}, "schedule_expression: "),
        ({"schedule_expression": "TZ=Europe 0 0 * * *"}, "schedule_expression: "),
        ({"schedule_expression": "TZ=../../etc/passwd 0 0 * * *"}, "schedule_expression: "),
        ({"schedule_expression": "1_0 * * * *"}, "schedule_expression: "),
        ({"schedule_expression": "*/0 * * * *"}, "schedule_expression: "),
        ({"schedule_expression": "61 * * * *"}, "schedule_expression: "),
        ({"schedule_expression": "@every 0s"}, "schedule_expression: "),
        ({"schedule_expression": "0," * 5000 + " * * * *"}, "schedule_expression: "),
        ({"time_zone": "Mars/Olympus"}, "time_zone: there is no time zone 'Mars/Olympus'"),
        ({"time_zone": ""}, "time_zone: "),
        ({"time_zone": "../../etc/passwd"}, "time_zone: "),
        ({"time_zone": 1}, "time_zone: must be a valid string"),
        ({"paused": "true"}, "paused: must be a valid boolean"),
        ({"skip_if_outstanding_tasks_exist": 1}, "skip_if_outstanding_tasks_exist: must be"),
        ({"misfire_policy": "never"}, "misfire_policy: must be 'skip', 'fire_once' or 'fire_all'"),
        ({"task_definition": None}, "task_definition: is required"),
        ({"task_definition": []}, "task_definition: must be a JSON object"),
        ({"task_definition": {"queue": "mail"}}, "task_definition.kind: is required"),
        ({"task_definition": DEFINITION | {"queue": "A"}}, "task_definition.queue: must be in"),
        ({"task_definition": DEFINITION | {"args": []}}, "task_definition.args: must be a JSON"),
        (
            {"task_definition": DEFINITION | {"processing_timeout": "0s"}},
            "task_definition.processing_timeout: must be longer",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_bad_members_are_named_and_nothing_is_stored(client, api, changes, problem):
    body = {name: value for name, value in (NEW | changes).items() if value is not None}

    message = refusal(await client.post(PATHS, json=body))

    assert message.startswith(problem)
    assert len(message) < 500
    assert api.recurring.stored == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schedule_expression": ""}, "schedule_expression: must not be empty"),
        ({"schedule_expression": "nonsense"}, "schedule_expression: "),
        ({"time_zone": "Mars/Olympus"}, "time_zone: "),
        ({"task_definition": {"queue": "mail"}}, "task_definition.kind: is required"),
        ({"misfire_policy": "never"}, "misfire_policy: "),
    ],
    ids=str,
)
async def test_a_bad_update_changes_nothing(client, api, changes, problem):
    await create(client)
    stored = api.recurring.stored

    assert refusal(await client.put(f"{PATHS}/r", json=changes)).startswith(problem)
    assert api.recurring.stored == stored


async def test_half_a_character_is_refused(client):
    body = '{"id":"r","schedule_expression":"\\ud800 * * * *","task_definition":{}}'

    refusal(await client.post(PATHS, content=body))


@pytest.mark.parametrize("depth", [150, 151, 1000, 20_000])
@pytest.mark.parametrize("member", ["args", "context"])
async def test_there_is_one_limit_to_nesting(client, depth, member):
    nested = '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)
    definition = f'{{"queue":"mail","kind":"k","{member}":{nested}}}'
    body = f'{{"id":"r","schedule_expression":"@daily","task_definition":{definition}}}'

    answer = await client.post(PATHS, content=body)

    if depth <= 150:
        assert answer.status_code == 201
        assert nested in answer.text
    else:
        assert "150 levels" in refusal(answer)


async def test_a_body_that_is_too_large_is_refused(client_with):
    body = NEW | {"task_definition": DEFINITION | {"args": {"a": "x" * 6_000_000}}}
    async with client_with() as client:
        assert (await client.post(PATHS, json=body)).status_code == 413


# ------------------------------------------------------------------ paths


HOSTILE_IDS = ["kg/s", "a%2Fb", "a?x=1", "a#x", "a b", "upcoming", "run", "\u00fc/\u00f1", "a/run"]


@pytest.mark.parametrize("task_id", HOSTILE_IDS)
async def test_each_id_is_served_under_its_own_encoding(client, task_id):
    path = f"{PATHS}/{quote(task_id, safe='')}"
    made = await create(client, id=task_id)
    await create(client, id="other")

    assert (await client.get(path)).json() == made
    assert (await client.put(path, json={"paused": True})).json()["id"] == task_id
    assert (await client.get(f"{path}/upcoming")).json() == []
    assert (await client.post(f"{path}/run")).json()["recurring_task_id"] == task_id
    assert (await client.delete(path)).json()["id"] == task_id
    assert (await client.get(path)).status_code == 404


async def test_a_path_of_an_impossible_id_is_refused(client):
    assert refusal(await client.get(f"{PATHS}/{'x' * 331}")).startswith("id: ")
    assert refusal(await client.get(f"{PATHS}/a%zz")).startswith("id: ")


async def test_other_paths_lead_nowhere(client):
    assert (await client.delete(PATHS)).json()["code"] == "no_such_route"
    assert (await client.post(f"{PATHS}/r")).json()["code"] == "no_such_route"
    assert (await client.get(f"{PATHS}/r/other")).json()["code"] == "no_such_route"


# ------------------------------------------------------------------ preview and run


async def test_the_preview_shows_the_next_instants(client):
    await create(client)

    assert (await client.get(f"{PATHS}/r/upcoming?count=5")).json() == [
        f"{year}-02-29T09:00:00Z" for year in (2028, 2032, 2036, 2040, 2044)
    ]
    assert len((await client.get(f"{PATHS}/r/upcoming")).json()) == 10


async def test_the_preview_minds_the_time_zone(client):
    await create(client, time_zone="Asia/Tokyo")

    assert (await client.get(f"{PATHS}/r/upcoming?count=1")).json() == ["2028-02-29T00:00:00Z"]


async def test_a_date_that_never_comes_is_accepted_and_previewed_as_nothing(client):
    made = await create(client, schedule_expression="0 0 30 2 *")

    assert made["next_fire_at"] is None
    assert (await client.get(f"{PATHS}/r/upcoming")).json() == []


@pytest.mark.parametrize("count", ["0", "-1", "1001", "x", "", "1.5", "\u0663", "9" * 5000])
async def test_a_bad_count_is_refused(client, count):
    await create(client)

    answer = await client.get(f"{PATHS}/r/upcoming", params={"count": count})

    assert refusal(answer) == "count: must be a number from 1 to 1000"


async def test_a_run_enqueues_a_task_that_workers_get(client):
    await create(client, **FULL)

    answer = await client.post(f"{PATHS}/r/run")
    claimed = await client.post(
        "/tasques/claims", json={"queues": ["mail"]}, headers={"X-TASQUES-WORKER-ID": "w"}
    )

    assert answer.status_code == 201
    task = answer.json()
    assert task["args"] == FULL["task_definition"]["args"]
    assert (task["state"], task["recurring_task_id"]) == ("queued", "r")
    assert [each["id"] for each in claimed.json()] == [task["id"]]


async def test_a_repeated_run_answers_the_same_task(client):
    await create(client)
    keys = ["k", "k", "other", None, None]

    ids = [
        (
            await client.post(
                f"{PATHS}/r/run", headers={} if key is None else {"Idempotency-Key": key}
            )
        ).json()["id"]
        for key in keys
    ]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("key", ["", " ", "x" * 513])
async def test_a_bad_idempotency_key_is_refused(client, key):
    await create(client)

    answer = await client.post(f"{PATHS}/r/run", headers={"Idempotency-Key": key})

    assert refusal(answer).startswith("Idempotency-Key: must not")


# ------------------------------------------------------------------ broken documents


async def test_a_broken_one_is_shown_in_the_form_of_the_others(client, api):
    good = await create(client, id="good")
    await create(client, id="bad")
    api.recurring.break_document("bad", reason="metadata: is missing")

    bad, other = (await client.get(PATHS)).json()

    assert other == good
    assert bad["error"] == "metadata: is missing"
    assert bad.keys() - {"error"} == good.keys()
    assert bad["task_definition"].keys() == good["task_definition"].keys()
    assert (bad["id"], bad["next_fire_at"]) == ("bad", None)
    assert (await client.get(f"{PATHS}/bad")).json() == bad
    assert refusal(await client.put(f"{PATHS}/bad", json={}), 409).endswith("delete it.")
    assert (await client.delete(f"{PATHS}/bad")).json() == bad
    assert (await client.get(PATHS)).json() == [good]


async def test_a_broken_schedule_is_shown_and_can_be_replaced(client, api):
    api.recurring.store(a_recurring_task(id="r", schedule_expression="nonsense"))
    api.recurring.break_document("r", reason="no schedule", is_readable=True)

    broken = (await client.get(f"{PATHS}/r")).json()
    previewed = await client.get(f"{PATHS}/r/upcoming")
    repaired = await client.put(f"{PATHS}/r", json={"schedule_expression": "@daily"})

    assert (broken["schedule_expression"], broken["error"]) == ("nonsense", "no schedule")
    assert "no schedule" in refusal(previewed, 409)
    assert repaired.status_code == 200
    assert "error" not in repaired.json()
