from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from factories import START, a_recurring_task

from tasques.background.agenda import KEPT_DELETED, Agenda
from tasques.domain.recurring import BrokenRecurringTask, PendingTask
from tasques.domain.task import Version

MINUTE = timedelta(minutes=1)
PENDING = PendingTask(queue="mail", task_id="t", instant=START)
numbers = count()


@pytest.fixture
def agenda():
    return Agenda()


def stored(**changes):
    return a_recurring_task(version=Version(next(numbers), 1), **changes)


def test_the_next_instant_is_that_of_the_earliest(agenda):
    agenda.put(stored(id="hourly", schedule_expression="@hourly"))
    agenda.put(stored(id="minutely"))
    agenda.put(stored(id="never", schedule_expression="0 0 30 2 *"))
    agenda.put(stored(id="paused", paused=True))

    assert agenda.next_at() == START + MINUTE


def test_an_empty_agenda_has_nothing_to_come(agenda):
    assert agenda.next_at() is None
    assert not agenda.has_work


def test_what_is_due_stays_due_until_it_is_dealt_with(agenda):
    task = stored()
    agenda.put(task)

    assert agenda.due(START + MINUTE - timedelta(microseconds=1)) == []
    assert agenda.due(START + MINUTE) == agenda.due(START + MINUTE) == [task]
    assert agenda.has_work
    moved = replace(task, last_instant=START + MINUTE, version=Version(next(numbers), 1))
    agenda.put(moved)

    assert agenda.due(START + MINUTE) == []
    assert agenda.next_at() == START + 2 * MINUTE
    assert not agenda.has_work


def test_an_earlier_version_is_no_news(agenda):
    old, new = stored(), stored(paused=True)
    agenda.put(new)

    agenda.put(old)

    assert agenda.due(START + MINUTE) == []
    assert agenda.is_known("recurring-1", old.version)
    assert agenda.is_known("recurring-1", new.version)
    assert not agenda.is_known("recurring-1", Version(new.version.seq_no, 2))
    assert not agenda.is_known("other", new.version)


def test_what_is_pending_keeps_it_from_being_due_until_it_is_settled(agenda):
    task = stored(pending=(PENDING,))
    agenda.put(task)
    assert agenda.unsettled() == [task]
    assert agenda.due(START + MINUTE) == []

    agenda.put(task, is_settled=True)

    assert agenda.unsettled() == []
    assert agenda.settled() == agenda.due(START + MINUTE) == [task]


def test_what_is_outdated_is_left_alone_until_it_was_read(agenda):
    agenda.put(stored())
    agenda.mark_outdated("recurring-1")

    assert agenda.outdated(0.0) == ["recurring-1"]
    assert agenda.due(START + MINUTE) == []
    assert agenda.next_at() is None
    agenda.put(stored())

    assert agenda.outdated(0.0) == []
    assert len(agenda.due(START + MINUTE)) == 1


def test_what_is_deferred_is_left_alone_and_read_again_then(agenda):
    agenda.put(stored())
    agenda.defer("recurring-1", 5.0)

    assert agenda.due(START + MINUTE) == []
    assert agenda.outdated(4.9) == []
    assert agenda.outdated(5.0) == ["recurring-1"]


def test_what_is_removed_needs_nothing(agenda):
    agenda.put(stored())
    assert agenda.due(START + MINUTE)
    agenda.remove("recurring-1")

    assert agenda.due(START + MINUTE) == []
    assert not agenda.has_work
    agenda.remove("recurring-1")


def test_a_deleted_one_is_due_when_it_can_be_purged(agenda):
    agenda.put(stored(is_deleted=True))

    assert agenda.next_at() == START + KEPT_DELETED


def test_a_broken_one_is_warned_about_once_for_each_version(agenda, caplog):
    for version in (Version(7, 1), Version(7, 1), Version(8, 1)):
        agenda.put(BrokenRecurringTask(id="r", reason="no kind", version=version))

    assert [record.reason for record in caplog.records] == ["no kind", "no kind"]


def test_instants_that_can_not_be_reckoned_with_break_one_and_no_other(agenda, caplog):
    end = datetime.max.replace(tzinfo=UTC)
    agenda.put(stored(is_deleted=True, modified_at=end))

    assert agenda.next_at() is None
    assert len(caplog.records) == 1


def test_entries_of_earlier_versions_do_not_pile_up(agenda):
    for _ in range(10_000):
        agenda.put(stored())

    assert agenda.next_at() == START + MINUTE
    assert len(agenda._heap) < 2000


def test_a_cleared_agenda_knows_nothing(agenda):
    for name in ("a", "b", "c"):
        agenda.put(stored(id=name, pending=(PENDING,)))
    agenda.mark_outdated("b")
    agenda.defer("c", 0.0)

    agenda.clear()

    assert agenda.outdated(1.0) == agenda.unsettled() == agenda.due(START + MINUTE) == []
    assert agenda.next_at() is None
