from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from factories import START, a_definition, a_recurring_task

from tasques.domain.errors import CorruptDocumentError
from tasques.domain.names import MAX_TASK_ID_BYTES
from tasques.domain.recurring import (
    MisfirePolicy,
    NewRecurringTask,
    PendingTask,
    RecurringTask,
)
from tasques.domain.task import Version

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def pending(task, *instants):
    return tuple(
        PendingTask(queue=task.definition.queue, task_id=task.task_id(each), instant=each)
        for each in instants
    )


def test_a_schedule_is_in_force_from_the_creation_on():
    new = NewRecurringTask(id="r", schedule_expression="* * * * *", definition=a_definition())

    task = RecurringTask.start(new, at=START + SECOND, incarnation="i")

    assert task.schedule_since == task.created_at == task.modified_at == START + SECOND
    assert task.misfire_policy is MisfirePolicy.FIRE_ONCE
    assert task.next_instant() == START + MINUTE
    assert not task.paused
    assert not task.skip_if_outstanding_tasks_exist


def test_instants_after_the_cursor_are_due_up_to_and_with_now():
    task = a_recurring_task().advance(START + MINUTE, pending=(), at=START + MINUTE)

    assert task.due(START + MINUTE, limit=10) == []
    assert task.due(START + 2 * MINUTE - SECOND, limit=10) == []
    assert task.due(START + 3 * MINUTE, limit=10) == [START + 2 * MINUTE, START + 3 * MINUTE]
    assert task.due(START + 3 * MINUTE, limit=1) == [START + 2 * MINUTE]


def test_the_next_instant_may_have_passed_but_what_clients_see_is_to_come():
    task = a_recurring_task()
    now = START + HOUR

    assert task.next_instant() == START + MINUTE
    assert task.next_fire_at(now) == now + MINUTE
    assert task.upcoming(now, 2) == [now + MINUTE, now + 2 * MINUTE]


def test_an_instant_that_was_dealt_with_is_not_to_come_though_a_clock_is_behind():
    task = a_recurring_task().advance(START + MINUTE, pending=(), at=START)

    assert task.next_fire_at(START) == START + 2 * MINUTE


@pytest.mark.parametrize("change", [{"paused": True}, {"is_deleted": True}])
def test_nothing_is_due_while_paused_or_deleted(change):
    task = a_recurring_task(**change)

    assert task.due(START + HOUR, limit=10) == []
    assert task.next_instant() is None
    assert task.next_fire_at(START) is None
    assert task.upcoming(START, 10) == []


def test_a_date_that_never_comes_has_no_instants():
    task = a_recurring_task(schedule_expression="0 0 30 2 *")

    assert task.next_instant() is None
    assert task.next_fire_at(START) is None


def test_intervals_are_counted_from_when_the_schedule_came_into_force():
    since = START + timedelta(seconds=7, microseconds=5)
    task = a_recurring_task(schedule_expression="@every 1h", schedule_since=since)
    first = task.next_instant()

    assert first is not None
    assert timedelta(0) <= since + HOUR - first < SECOND
    later = task.advance(first, pending=(), at=first + 30 * SECOND)
    assert later.next_instant() == first + HOUR
    assert later.next_fire_at(first + 10 * HOUR + SECOND) == first + 11 * HOUR


@pytest.mark.parametrize(
    "change",
    [{"schedule_expression": "*/5 * * * *"}, {"time_zone": "Asia/Tokyo"}],
    ids=["expression", "zone"],
)
def test_a_new_schedule_has_missed_nothing(change):
    at = START + HOUR + SECOND
    task = a_recurring_task().update(at=at, **change)

    assert (task.schedule_since, task.modified_at, task.created_at) == (at, at, START)
    assert task.due(at, limit=10) == []


def test_a_daily_schedule_that_becomes_one_of_minutes_goes_on_at_the_next_of_them():
    daily = a_recurring_task(schedule_expression="0 9 * * *")
    afternoon = datetime(2026, 3, 2, 15, 2, tzinfo=UTC)

    task = daily.update(at=afternoon, schedule_expression="*/5 * * * *")

    assert task.next_instant() == datetime(2026, 3, 2, 15, 5, tzinfo=UTC)


def test_the_end_of_a_pause_makes_up_for_nothing():
    paused = a_recurring_task().update(at=START + SECOND, paused=True)

    resumed = paused.update(at=START + HOUR + SECOND, paused=False)

    assert paused.schedule_since == START
    assert resumed.next_instant() == START + HOUR + MINUTE


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"schedule_expression": "* * * * *"},
        {"paused": False},
        {"skip_if_outstanding_tasks_exist": True},
        {"definition": a_definition(queue="other")},
        {"misfire_policy": MisfirePolicy.SKIP},
    ],
    ids=str,
)
def test_any_other_change_leaves_the_schedule_alone(change):
    task = a_recurring_task(time_zone="UTC")
    task = task.advance(START + MINUTE, pending=pending(task, START + MINUTE), at=START + MINUTE)

    changed = task.update(at=START + HOUR, **change)

    assert changed.schedule_since == START
    assert changed.modified_at == START + HOUR
    assert (changed.last_instant, changed.pending) == (task.last_instant, task.pending)
    assert all(getattr(changed, name) == value for name, value in change.items())


def test_that_it_fired_is_no_change_by_a_client():
    task = a_recurring_task()
    at = START + MINUTE + timedelta(milliseconds=3)

    fired = task.advance(START + MINUTE, pending=pending(task, START + MINUTE), at=at)

    assert fired.modified_at == START
    assert (fired.last_fired_at, fired.last_task_id) == (at, "recurring-1@2026-03-01T12:01:00Z")
    assert fired.settle() == a_recurring_task(
        incarnation=task.incarnation,
        last_instant=START + MINUTE,
        last_fired_at=at,
        last_task_id=fired.last_task_id,
    )


def test_an_instant_that_is_skipped_leaves_the_last_task_as_it_was():
    task = a_recurring_task()
    fired = task.advance(START + MINUTE, pending=pending(task, START + MINUTE), at=START + MINUTE)

    skipped = fired.settle().advance(START + 2 * MINUTE, pending=(), at=START + 2 * MINUTE)

    assert skipped.last_instant == START + 2 * MINUTE
    assert (skipped.last_fired_at, skipped.last_task_id) == (
        fired.last_fired_at,
        fired.last_task_id,
    )


def test_a_deletion_leaves_what_is_pending():
    task = a_recurring_task()
    fired = task.advance(START + MINUTE, pending=pending(task, START + MINUTE), at=START + MINUTE)

    deleted = fired.delete(at=START + HOUR)

    assert deleted.is_deleted
    assert deleted.modified_at == START + HOUR
    assert deleted.pending == fired.pending


def test_one_in_place_of_a_deleted_one_goes_on_where_that_stopped():
    old = a_recurring_task(version=Version(7, 1), last_fired_at=START, last_task_id="t")
    old = old.advance(START + MINUTE, pending=pending(old, START + MINUTE), at=START)
    new = a_recurring_task(schedule_since=START + SECOND)

    replacing = new.replacing(old.delete(at=START))

    assert replacing.version == Version(7, 1)
    assert replacing.pending == old.pending
    assert replacing.next_instant() == START + 2 * MINUTE
    assert (replacing.last_fired_at, replacing.last_task_id) == (None, None)
    assert not replacing.is_deleted


@pytest.mark.parametrize(
    "change", [{"schedule_expression": "61 * * * *"}, {"time_zone": "Mars/Olympus"}]
)
def test_a_stored_schedule_that_makes_no_sense_is_a_broken_document(change):
    with pytest.raises(CorruptDocumentError, match="schedule_expression"):
        _ = a_recurring_task(**change).schedule


def test_ids_of_tasks_fit_however_long_that_of_the_recurring_task_is():
    task = a_recurring_task(id="\u00e9" * 165)

    assert len(task.task_id(START).encode()) <= MAX_TASK_ID_BYTES
