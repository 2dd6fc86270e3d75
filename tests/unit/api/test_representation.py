from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from factories import START, a_claimed_task, a_task

from tasques.api.representation import task_json, tasks_json
from tasques.domain.task import JsonText, Version


def test_the_members_of_a_new_task_are_in_the_order_of_the_original():
    task = a_task(version=Version(7, 2), args=JsonText('{"a":1}'), context=JsonText("{}"))

    assert task_json(task).decode() == (
        '{"id":"task-1","queue":"mail","retry_times":3,"attempted":0,"kind":"send",'
        '"state":"queued","priority":0,"processing_timeout":"30m0s",'
        '"run_at":"2026-03-01T12:00:00Z","args":{"a":1},"context":{},'
        '"last_enqueued_at":"2026-03-01T12:00:00Z","metadata":{'
        '"created_at":"2026-03-01T12:00:00Z","modified_at":"2026-03-01T12:00:00Z",'
        '"version":{"seq_num":7,"primary_term":2}}}'
    )


def test_a_claim_has_its_report_and_its_result():
    at = START + timedelta(milliseconds=1500)
    task = a_claimed_task().report(worker_id="worker-1", at=at, data=JsonText('{"percent":40}'))
    failed = task.fail(worker_id="worker-1", at=at, failure=JsonText('{"e":"x"}'), retry_at=START)

    claim = json.loads(task_json(failed))["last_claimed"]

    assert claim == {
        "worker_id": "worker-1",
        "claimed_at": "2026-03-01T12:00:00Z",
        "times_out_at": "2026-03-01T12:30:01.500000Z",
        "last_report": {"at": "2026-03-01T12:00:01.500000Z", "data": {"percent": 40}},
        "result": {"at": "2026-03-01T12:00:01.500000Z", "failure": {"e": "x"}},
        "claim_id": "claim-1",
    }


def test_what_has_no_value_is_left_out():
    done = a_claimed_task().complete(worker_id="worker-1", at=START, success=None)

    members = json.loads(task_json(done))

    assert "args" not in members
    assert "recurring_task_id" not in members
    assert "scheduled_for" not in members
    assert members["last_claimed"]["result"] == {"at": "2026-03-01T12:00:00Z"}
    assert "last_report" not in members["last_claimed"]
    assert b"null" not in task_json(done)


def test_the_run_of_a_recurring_task_names_it_and_the_instant_it_stands_for():
    members = json.loads(task_json(a_task(recurring_task_id="r", scheduled_for=START)))

    assert members["recurring_task_id"] == "r"
    assert members["scheduled_for"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("seq_no", "shown"), [(2**31 - 1, 2**31 - 1), (2**31, 0), (5 * 2**31 + 3, 3)]
)
def test_a_sequence_number_fits_into_32_bits(seq_no, shown):
    version = json.loads(task_json(a_task(version=Version(seq_no, 1))))["metadata"]["version"]

    assert version == {"seq_num": shown, "primary_term": 1}


def test_an_instant_keeps_its_offset():
    tokyo = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    utc = a_task()._replace(run_at=tokyo.astimezone(START.tzinfo))

    assert b'"run_at":"2029-12-31T15:00:00Z"' in task_json(utc)
    assert b'"run_at":"2030-01-01T00:00:00+09:00"' in task_json(a_task(run_at=tokyo))


def test_several_tasks_are_an_array():
    tasks = [a_task(id="a"), a_task(id="b")]

    assert tasks_json([]) == b"[]"
    assert tasks_json(tasks) == b"[" + task_json(tasks[0]) + b"," + task_json(tasks[1]) + b"]"
