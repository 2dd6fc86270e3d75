"""What clients put into free-form members comes out as it went in."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasques.api.bodies import parse_object, to_json_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**60), max_value=10**60),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)
objects = st.dictionaries(texts, values, max_size=5)


@given(objects)
def test_any_object_is_kept_exactly_and_in_one_line(value):
    for ensure_ascii in (True, False):
        sent = json.dumps(value, ensure_ascii=ensure_ascii, indent=2).encode()

        text = to_json_text(parse_object(sent))

        assert json.loads(text) == value
        assert "\n" not in text
        assert "\r" not in text


@given(objects)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_any_object_is_answered_as_it_was_sent(client, value):
    body = {"queue": "mail", "kind": "send", "args": value, "context": value}

    answer = await client.post("/tasques", content=json.dumps(body))

    assert answer.status_code == 201
    task = json.loads(answer.content)
    assert (task["args"], task["context"]) == (value, value)


@given(st.text(string.digits, min_size=1, max_size=1500).map(lambda text: text.lstrip("0") or "0"))
def test_integers_are_kept_digit_for_digit(digits):
    assert to_json_text(parse_object(b'{"a":%b}' % digits.encode())) == f'{{"a":{digits}}}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_next_to_big_integers_are_kept(number):
    text = to_json_text(parse_object(json.dumps({"a": number, "b": 2**64}).encode()))

    kept = json.loads(text)["a"]
    assert (kept, str(kept)) == (number, str(number))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":{"b":1},"a":{"c":2}}', '{"a":{"c":2}}'),
        ('{"a":1.0,"b":-0.0}', '{"a":1.0,"b":-0.0}'),
        ('{"":1,"a..b":2,".":3," ":4}', '{"":1,"a..b":2,".":3," ":4}'),
        ('{"a":"x\\u0000\\n\\u00e9"}', '{"a":"x\\u0000\\n\u00e9"}'),
        ('{ "a" :\n[ ] ,\t"b":{ } }', '{"a":[],"b":{}}'),
        ('{"a":null,"b":1e308}', '{"a":null,"b":1e+308}'),
        ('{"a":18446744073709551615}', '{"a":18446744073709551615}'),
        ('{"a":-9223372036854775809}', '{"a":-9223372036854775809}'),
        ('{"a":null,"b":18446744073709551616}', '{"a":null,"b":18446744073709551616}'),
    ],
)
def test_the_text_that_is_kept(sent, kept):
    assert to_json_text(parse_object(sent.encode())) == kept


async def test_nothing_is_lost_on_any_way_to_the_client(client):
    exact = (
        '{"a":3889108265204450030,"b":18446744073709551615,"c":18446744073709551616,'
        '"d":123456789012345678901234567890,"e":0.0011285007931292057,"f":1.0,'
        '"g":1746830384.7678468}'
    )
    worker = {"X-TASQUES-WORKER-ID": "w"}
    body = f'{{"data":{exact}}}'

    answers = [
        await client.post(
            "/tasques", content=f'{{"id":"t","queue":"q","kind":"k",\n"args":{exact}}}'
        ),
        await client.get("/tasques/q/t"),
        await client.post("/tasques/claims", json={"queues": ["q"]}, headers=worker),
        await client.put("/tasques/reports/q/t", content=body, headers=worker),
        await client.put("/tasques/done/q/t", content=body, headers=worker),
    ]

    for answer in answers:
        assert f'"args":{exact}' in answer.text
    assert f'"data":{exact}' in answers[3].text
    assert f'"success":{exact}' in answers[4].text
