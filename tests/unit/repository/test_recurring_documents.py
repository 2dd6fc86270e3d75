from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from factories import START, a_definition, a_recurring_task

from tasques.domain.recurring import BrokenRecurringTask, PendingTask
from tasques.domain.task import JsonText, Version
from tasques.repository.mappings import RECURRING
from tasques.repository.recurring_documents import from_document, to_document

VERSION = Version(7, 1)
ALIASES = {name for name, field in RECURRING.items() if field.get("type") == "alias"}


def a_document(**changes):
    task = a_recurring_task(
        time_zone="Asia/Tokyo",
        definition=a_definition(args=JsonText("{}"), context=JsonText("{}")),
        last_instant=START,
        pending=(PendingTask(queue="mail", task_id="t", instant=START),),
        last_fired_at=START,
        last_task_id="t",
    )
    return orjson.loads(to_document(task, "w")) | changes


def read(document, found_id="recurring-1"):
    return from_document(document, VERSION, found_id)


def test_what_is_written_is_read():
    task = a_recurring_task(version=VERSION, unknown_members={"from_tomorrow": [1]})

    assert read(orjson.loads(to_document(task, "w"))) == task


def test_members_of_a_newer_version_are_kept_in_objects_too():
    document = a_document()
    document["metadata"]["colour"] = document["task_definition"]["colour"] = ["blue"]

    task = read(document)

    assert orjson.loads(to_document(task.settle(), "w")) == {
        name: value for name, value in document.items() if name != "pending"
    }


def test_every_member_is_in_the_mapping():
    def names(members, fields):
        assert members.keys() <= fields.keys()
        for name, value in members.items():
            if "properties" in fields[name]:
                names(value, fields[name]["properties"])

    document = a_document()
    names(document, RECURRING)
    assert document.keys() == RECURRING.keys() - ALIASES


def test_what_is_not_set_is_not_written():
    document = orjson.loads(to_document(a_recurring_task(), "w"))

    assert None not in document.values()
    assert RECURRING.keys() - ALIASES - document.keys() == {
        "last_fired_at",
        "last_instant",
        "last_task_id",
        "pending",
        "time_zone",
    }


def with_definition(**changes):
    return {"task_definition": a_document()["task_definition"] | changes}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "other"}, "id"),
        ({"schedule_expression": 7}, "schedule_expression"),
        ({"skip_if_outstanding_tasks_exist": 1}, "skip_if_outstanding_tasks_exist"),
        ({"paused": "no"}, "paused"),
        ({"misfire_policy": "never"}, "never"),
        ({"schedule_since": "2026-03-01"}, "2026-03-01"),
        ({"schedule_since": "2026-03-01T12:00:00"}, "2026-03-01"),
        ({"last_instant": 7}, "last_instant"),
        ({"pending": [{}]}, "queue"),
        ({"pending": 7}, "int"),
        ({"metadata": {}}, "created_at"),
        ({"metadata": None}, "NoneType"),
        ({"time_zone": 7}, "time_zone"),
        ({"task_definition": []}, "list"),
        (with_definition(queue="NOT A QUEUE"), "task_definition.queue"),
        (with_definition(kind=""), "task_definition.kind"),
        (with_definition(retry_times=True), "retry_times"),
        (with_definition(processing_timeout=10**30), "OverflowError"),
        (with_definition(args={}), "args"),
    ],
    ids=str,
)
def test_a_document_that_makes_no_sense_is_quarantined(changes, reason):
    broken = read(a_document(**changes))

    assert isinstance(broken, BrokenRecurringTask)
    assert reason in broken.reason
    assert broken.task is None
    assert (broken.id, broken.version) == ("recurring-1", VERSION)


def test_an_empty_document_is_quarantined():
    assert isinstance(read({}), BrokenRecurringTask)


@pytest.mark.parametrize(
    "changes", [{"schedule_expression": "61 * * * *"}, {"time_zone": "Mars/Olympus"}], ids=str
)
def test_of_a_broken_schedule_the_rest_can_be_used(changes):
    broken = read(a_document(**changes))

    assert isinstance(broken, BrokenRecurringTask)
    assert "schedule_expression" in broken.reason
    assert broken.task == replace(
        read(a_document()), incarnation=broken.task.incarnation, **changes
    )


def test_the_schedule_of_a_deleted_one_is_nobodys_concern():
    task = read(a_document(schedule_expression="61 * * * *", is_deleted=True))

    assert not isinstance(task, BrokenRecurringTask)
    assert task.is_deleted
