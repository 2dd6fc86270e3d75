from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from factories import START, a_claimed_task, a_task
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.claim_rank import claim_rank
from tasques.domain.errors import CorruptDocumentError
from tasques.domain.task import Claim, JsonText, Report, Result, Task, TaskState, Version
from tasques.repository.documents import (
    document_id,
    failure_message,
    from_document,
    to_document,
)

VERSION = Version(5, 2)

# What orjson can write: surrogates are no text.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_text = st.dictionaries(st.sampled_from(["message", "a"]), text).map(
    lambda members: JsonText(orjson.dumps(members).decode())
)
instants = st.datetimes(timezones=st.just(UTC))
durations = st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))
integers = st.integers(-(2**63), 2**63 - 1)
optional_text = st.none() | text
optional_json = st.none() | json_text

unknown = st.dictionaries(
    text.map(lambda name: f"new_{name}"),
    st.recursive(
        st.none() | st.booleans() | integers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)

reports = st.builds(Report, at=instants, data=optional_json, unknown_members=unknown)
results = st.builds(Result, at=instants, success=optional_json, failure=optional_json)
claims = st.builds(
    Claim,
    worker_id=text,
    claimed_at=instants,
    times_out_at=instants,
    claim_id=optional_text,
    last_report=st.none() | reports,
    result=st.none() | results,
    wait_ms=st.none() | integers,
    unknown_members=unknown,
)
tasks = st.builds(
    Task,
    id=text,
    queue=text,
    kind=text,
    state=st.sampled_from(TaskState),
    priority=integers,
    retry_times=integers,
    attempted=integers,
    processing_timeout=durations,
    run_at=instants,
    last_enqueued_at=instants,
    created_at=instants,
    modified_at=instants,
    incarnation=text,
    args=optional_json,
    context=optional_json,
    last_claimed=st.none() | claims,
    recurring_task_id=optional_text,
    scheduled_for=st.none() | instants,
    traceparent=optional_text,
    version=st.just(VERSION),
    unknown_members=unknown,
    unknown_metadata=unknown,
    archived=st.just(False),  # noqa: FBT003 - the value, not a flag
)


def stored(task, write_id="w"):
    return orjson.loads(to_document(task, write_id))


@given(tasks, text)
def test_a_document_reads_as_the_task_that_was_written(task, write_id):
    line = to_document(task, write_id)

    assert b"\n" not in line
    source = orjson.loads(line)
    assert source["write_id"] == write_id
    assert from_document(source, VERSION, "found") == task


@given(tasks)
def test_only_what_is_claimable_can_be_found_by_a_claim(task):
    source = stored(task)

    if task.is_claimable:
        assert source["due_at"] == source["run_at"]
        assert source["claim_rank"] == claim_rank(task.priority, task.run_at)
    else:
        assert "due_at" not in source
        assert "claim_rank" not in source


def test_members_of_a_newer_version_are_kept_but_never_win():
    source = stored(a_task()) | {"colour": "blue", "sizes": {"b": [1, None]}}

    task = from_document(source, VERSION, "found")

    assert task.unknown_members == {"colour": "blue", "sizes": {"b": [1, None]}}
    assert stored(task) == source


def test_members_of_a_newer_version_are_kept_in_objects_too():
    claimed = a_claimed_task().report(worker_id="worker-1", at=START, data=None)
    source = stored(claimed)
    for each in (source["metadata"], source["last_claimed"], source["last_claimed"]["last_report"]):
        each["colour"] = ["blue"]

    task = from_document(source, VERSION, "found")
    assert stored(task) == source

    done = stored(task.complete(worker_id="worker-1", at=START, success=None))
    assert done["metadata"]["colour"] == ["blue"]
    assert done["last_claimed"]["colour"] == ["blue"]
    assert done["last_claimed"]["last_report"]["colour"] == ["blue"]


def test_what_a_newer_version_says_of_a_claim_or_report_goes_with_it():
    source = stored(a_claimed_task().report(worker_id="worker-1", at=START, data=None))
    source["last_claimed"]["colour"] = source["last_claimed"]["last_report"]["colour"] = "blue"
    task = from_document(source, VERSION, "found")

    reported = stored(task.report(worker_id="worker-1", at=START, data=None))
    assert reported["last_claimed"]["colour"] == "blue"
    assert "colour" not in reported["last_claimed"]["last_report"]
    again = task.unclaim(worker_id="worker-1", at=START).claim(
        worker_id="worker-2", at=START, claim_id="claim-2"
    )
    assert "colour" not in stored(again)["last_claimed"]


def test_a_failed_task_can_be_searched_by_its_message():
    task = a_claimed_task().fail(
        worker_id="worker-1", at=START, failure=JsonText('{"message":"no disk"}'), retry_at=START
    )

    assert stored(task)["failure_message"] == "no disk"
    assert "failure_message" not in stored(a_claimed_task())


def test_charts_find_how_long_a_task_waited_and_ran_and_why_it_failed():
    second = timedelta(seconds=1)
    claimed = a_task().claim(worker_id="worker-1", at=START + 2 * second, claim_id="claim-1")
    failure = JsonText('{"message":"%s"}' % ("x" * 1000))
    failed = claimed.fail(
        worker_id="worker-1", at=START + 5 * second, failure=failure, retry_at=START + 9 * second
    )
    again = from_document(stored(failed), VERSION, "found")

    assert stored(claimed)["last_claimed"]["wait_ms"] == 2000
    assert "run_ms" not in stored(claimed)["last_claimed"]
    for task in (failed, again):
        assert stored(task)["last_claimed"]["wait_ms"] == 2000
        assert stored(task)["last_claimed"]["run_ms"] == 3000
        assert stored(task)["last_claimed"]["result"]["reason"] == "x" * 256


def test_what_an_older_version_claimed_has_no_waiting_time():
    source = stored(a_claimed_task())
    del source["last_claimed"]["wait_ms"]

    assert "wait_ms" not in stored(from_document(source, VERSION, "found"))["last_claimed"]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ('{"message":"a","error":"b"}', "a"),
        ('{"error":"b","err":"c"}', "b"),
        ('{"err":"c","reason":"d"}', "c"),
        ('{"reason":"d"}', "d"),
        ('{"timed_out":"e"}', "e"),
        ('{"message":{"text":"a"},"error":"b"}', "b"),
        ('{"message":""}', ""),
        ('{"message":null}', '{"message":null}'),
        ('{"code":7}', '{"code":7}'),
        ('{"message":"a","message":"b"}', "b"),
        ('{"n":123456789012345678901234567890,"message":"a"}', "a"),
        ('{"message":"%s"}' % ("x" * 5000), "x" * 1024),
        ('{"a":%s}' % ("1" * 5000), ('{"a":%s}' % ("1" * 5000))[:1024]),
        ("{}", "{}"),
        ("[1]", "[1]"),
        ("null", "null"),
        ("no json", "no json"),
        ('{"a":' * 2000 + "1" + "}" * 2000, ('{"a":' * 2000)[:1024]),
    ],
)
def test_the_message_of_a_failure_is_its_usual_member_or_all_of_it(failure, message):
    assert failure_message(JsonText(failure)) == message


def without(member):
    def change(source):
        del source[member]

    return change


def with_member(*path, value):
    def change(source):
        for name in path[:-1]:
            source = source[name]
        source[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without("id"), "id"),
        (without("queue"), "queue"),
        (without("state"), "state"),
        (without("metadata"), "metadata"),
        (without("incarnation"), "incarnation"),
        (with_member("state", value="sleeping"), "sleeping"),
        (with_member("state", value=None), "state"),
        (with_member("id", value=None), "id"),
        (with_member("id", value=7), "id"),
        (with_member("kind", value={}), "kind"),
        (with_member("priority", value="high"), "priority"),
        (with_member("priority", value=None), "priority"),
        (with_member("priority", value=1.5), "priority"),
        (with_member("priority", value=True), "priority"),
        (with_member("attempted", value="1"), "attempted"),
        (with_member("retry_times", value=[]), "retry_times"),
        (with_member("processing_timeout", value="30m"), "processing_timeout"),
        (with_member("processing_timeout", value=1e300), "processing_timeout"),
        (with_member("processing_timeout", value=10**40), "processing_timeout"),
        (with_member("run_at", value="tomorrow"), "run_at"),
        (with_member("run_at", value=1700000000), "run_at"),
        (with_member("run_at", value="2026-03-01T12:00:00"), "run_at"),
        (with_member("metadata", value=[]), "metadata"),
        (with_member("metadata", "created_at", value=None), "created_at"),
        (with_member("args", value={"a": 1}), "args"),
        (with_member("context", value=7), "context"),
        (with_member("recurring_task_id", value=7), "recurring_task_id"),
        (with_member("scheduled_for", value="noon"), "scheduled_for"),
        (with_member("last_claimed", value="worker-1"), "last_claimed"),
        (with_member("last_claimed", "worker_id", value=None), "worker_id"),
        (with_member("last_claimed", "claim_id", value=7), "claim_id"),
        (with_member("last_claimed", "times_out_at", value=7), "times_out_at"),
        (with_member("last_claimed", "wait_ms", value="2s"), "wait_ms"),
        (with_member("last_claimed", "last_report", value="now"), "last_report"),
        (with_member("last_claimed", "last_report", value={"at": "now"}), "at"),
        (with_member("last_claimed", "result", value={"at": None}), "at"),
        (
            with_member(
                "last_claimed", "result", value={"at": "2026-03-01T12:00:00Z", "success": {}}
            ),
            "success",
        ),
    ],
)
def test_a_broken_document_is_told_by_the_member_that_is_broken(change, named):
    source = copy.deepcopy(stored(a_claimed_task()))
    change(source)

    with pytest.raises(CorruptDocumentError) as raised:
        from_document(source, VERSION, "mail:task-1")

    assert raised.value.document_id == "mail:task-1"
    assert named in raised.value.reason


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | text,
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    ),
    st.data(),
)
def test_whatever_is_stored_reads_as_a_task_or_is_corrupt(value, data):
    source = stored(a_claimed_task())
    name = data.draw(st.sampled_from(sorted(source)))
    source[name] = value

    try:
        task = from_document(source, VERSION, "found")
    except CorruptDocumentError:
        return
    to_document(task, "w")


def test_instants_of_other_offsets_and_precisions_are_read():
    source = stored(a_task()) | {"run_at": "2026-03-01T14:00:00.123456+02:00"}

    task = from_document(source, VERSION, "found")

    assert task.run_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_the_id_of_a_document_is_made_of_queue_and_id():
    assert document_id("mail", "a:b") == "mail:a:b"
