from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from conformance.comparison import differences
from conformance.transcripts import Answer

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(days=400)


def said(body, *, status=200, headers=None, at=THEN):
    return Answer(status=status, headers=headers or {}, body=body, at=at)


def differ(old, new, **both):
    return differences(said(old, **both), said(new, **both | {"at": NOW})) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"id": "0" * 32}, {"id": "f" * 32}),
        ({"claimed_at": "2026-01-01T00:00:00.123456789Z"}, {"claimed_at": "2027-02-05T01:00:00Z"}),
        ({"run_at": "2026-01-01T00:01:00Z"}, {"run_at": "2027-02-05T01:00:00Z"}),
        (
            {"run_at": "2021-05-05T10:00:00.123456789+09:00"},
            {"run_at": "2021-05-05T01:00:00.123456Z"},
        ),
        ({"version": {"seq_num": 1}}, {"version": {"seq_num": 22}}),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1, "claim_id": "x"}]),
    ],
)
def test_what_no_two_runs_have_in_common_is_no_difference(old, new):
    assert not differ(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"id": "a"}, {"id": "b"}),
        ({"id": "0" * 32}, {"id": "0" * 31}),
        ({"n": 1}, {"n": 1.0}),
        ({"n": 1}, {"n": True}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": None}),
        ([1, 2], [2, 1]),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01 00:00:00"}),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": None}),
        ({"seq_num": 1}, {"seq_num": "1"}),
        ({"run_at": "2021-05-05T10:00:00Z"}, {"run_at": "2021-05-05T10:00:01Z"}),
        ({"run_at": "2026-01-01T00:01:00Z"}, {"run_at": "2026-01-01T00:01:00Z"}),
        ({"args": {"at": "2026-01-01T00:00:00Z"}}, {"args": {"at": "2026-01-02T00:00:00Z"}}),
        ([], None),
    ],
)
def test_everything_else_is_a_difference(old, new):
    assert differ(old, new)


def test_the_words_of_an_error_do_not_count_but_its_shape_does():
    assert not differ({"message": "a"}, {"message": "b", "code": "c"}, status=400)
    assert not differ(None, {"message": "b"}, status=401)
    assert not differ(None, None, status=404)
    assert differ({"message": "a"}, {"detail": "a"}, status=400)
    assert differ({"message": "a"}, {"message": ["a"]}, status=400)
    assert differ({"message": "a"}, None, status=400)


def test_statuses_and_the_headers_that_were_recorded_count():
    old = said(None, headers={"content-type": "application/json; charset=utf-8", "vary": "x"})

    assert not differences(
        old, said(None, headers={"content-type": "application/json", "vary": "x", "date": "y"})
    )
    assert differences(old, said(None, headers={"content-type": "text/html", "vary": "x"}))
    assert differences(old, said(None, headers={"content-type": "application/json"}))
    assert differences(old, said(None, status=201))


def test_of_a_redirect_its_target_counts():
    old = said("<a>", status=301, headers={"location": "/tasques", "content-type": "text/html"})

    assert not differences(old, said(None, status=301, headers={"location": "/tasques"}))
    assert differences(old, said(None, status=301, headers={"location": "/"}))
    assert differences(old, said(None, status=301))


def test_a_body_that_was_not_recorded_may_be_anything():
    assert not differ(..., {"a": 1})
