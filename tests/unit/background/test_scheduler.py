from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from factories import START, a_definition, a_recurring_task, a_task
from fake_archive import InMemoryTaskArchive
from fake_recurring import InMemoryRecurringTaskRepository
from fake_runs import InMemoryRunRepository
from fakes import FakeClock, InMemoryTaskRepository, Operation, RecordingObserver, settle

from tasques.background.agenda import KEPT_DELETED
from tasques.background.scheduler import Scheduler
from tasques.domain.errors import (
    StoreRejectedError,
    StoreUnavailableError,
    UnresolvedRecurringWriteError,
    UnresolvedWriteError,
)
from tasques.domain.recurring import MisfirePolicy, PendingTask

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


class Bench:
    """A scheduler, and what is around it."""

    def __init__(self):
        self.clock = FakeClock()
        self.recurring = InMemoryRecurringTaskRepository()
        self.tasks = InMemoryTaskRepository()
        self.archive = InMemoryTaskArchive(self.tasks)
        self.runs = InMemoryRunRepository(self.archive)
        self.offered = []
        self.is_leader = True
        self.observer = RecordingObserver()
        self.scheduler = Scheduler(
            recurring_tasks=self.recurring,
            tasks=self.tasks,
            runs=self.runs,
            offer=self.offered.extend,
            clock=self.clock,
            is_leader=lambda: self.is_leader,
            interval=1.0,
            observer=self.observer,
        )

    @property
    def fired(self):
        """The seconds after `START` for which tasks were created, in order."""
        return [(task.scheduled_for - START) // SECOND for task in self.tasks.stored]

    @property
    def stored(self):
        (task,) = self.recurring.stored
        return task

    async def until(self, seconds):
        """Let time pass until so many seconds after `START`."""
        await self.clock.advance(seconds - self.clock.monotonic())

    async def finish_runs(self):
        for task in self.tasks.stored:
            claimed = task.claim(worker_id="w", at=START, claim_id="c")
            self.tasks.store(claimed.complete(worker_id="w", at=START, success=None))


@pytest.fixture
async def bench():
    """With a scheduler that runs."""
    bench = Bench()
    loop = asyncio.ensure_future(bench.scheduler.run())
    yield bench
    assert not loop.done()
    loop.cancel()
    await settle()


def every_second(**changes):
    return a_recurring_task(schedule_expression="* * * * * *", **changes)


# ---------------------------------------------------------------- firing


async def test_a_task_is_enqueued_at_each_instant(bench):
    bench.recurring.store(a_recurring_task())

    await bench.until(59.9)
    assert bench.fired == []
    await bench.until(60)
    assert bench.fired == [60]
    await bench.until(185)

    assert bench.fired == [60, 120, 180]
    assert bench.offered == bench.tasks.stored


async def test_a_task_knows_what_it_is_a_run_of(bench):
    bench.recurring.store(a_recurring_task())

    await bench.until(60)

    (run,) = bench.tasks.stored
    assert run.id == "recurring-1@2026-03-01T12:01:00Z"
    assert run.recurring_task_id == "recurring-1"
    assert run.scheduled_for == START + MINUTE


async def test_what_fired_is_written_down_and_nothing_stays_pending(bench):
    bench.recurring.store(a_recurring_task())

    await bench.until(60)

    decided, settled = bench.recurring.writes
    assert [each.task_id for each in decided.pending] == ["recurring-1@2026-03-01T12:01:00Z"]
    assert settled.pending == ()
    assert settled.last_instant == START + MINUTE
    assert settled.last_task_id == "recurring-1@2026-03-01T12:01:00Z"


async def test_a_schedule_whose_time_never_comes_does_no_harm(bench):
    bench.recurring.store(a_recurring_task(schedule_expression="0 0 30 2 *"))
    bench.recurring.store(every_second(id="other"))

    await bench.until(3)

    assert bench.fired == [1, 2, 3]


async def test_nothing_fires_while_another_server_leads(bench):
    bench.is_leader = False
    bench.recurring.store(every_second())

    await bench.until(10)

    assert bench.fired == []


async def test_instants_that_nobody_led_at_are_caught_up_by_policy(bench):
    bench.is_leader = False
    for policy in MisfirePolicy:
        bench.recurring.store(every_second(id=policy.value, misfire_policy=policy))
    await bench.until(6.5)
    bench.is_leader = True
    await bench.until(8.5)

    fired = {policy: [] for policy in MisfirePolicy}
    for task in bench.tasks.stored:
        fired[task.recurring_task_id].append((task.scheduled_for - START) // SECOND)
    assert fired == {
        MisfirePolicy.SKIP: [6, 7, 8],  # the last was not late
        MisfirePolicy.FIRE_ONCE: [6, 7, 8],
        MisfirePolicy.FIRE_ALL: [1, 2, 3, 4, 5, 6, 7, 8],
    }


# ---------------------------------------------------------------- changes


async def test_what_another_server_makes_is_followed_within_two_intervals(bench):
    await bench.until(10)
    bench.recurring.store(every_second(schedule_since=START + 10 * SECOND))

    await bench.until(12)

    assert bench.fired == [11, 12]


async def test_what_this_server_makes_is_followed_at_once(bench):
    await bench.until(10.05)
    made = every_second(schedule_since=START + 10 * SECOND)
    bench.scheduler.notify(bench.recurring.store(made))

    await bench.until(11)

    assert bench.fired == [11]


async def test_news_for_a_server_that_does_not_lead_are_left_to_the_leader(bench):
    bench.is_leader = False
    await bench.until(1)
    bench.scheduler.notify(bench.recurring.store(every_second()))

    await bench.until(5)

    assert bench.fired == []


@pytest.mark.parametrize("member", ["paused", "is_deleted"])
async def test_a_pause_or_deletion_rules_the_next_instant_however_late_it_is_seen(bench, member):
    bench.recurring.store(every_second())
    await bench.until(3)
    bench.recurring.store(replace(bench.stored, **{member: True}))

    await bench.until(5)

    assert bench.fired == [1, 2, 3]


async def test_a_changed_schedule_fires_nothing_for_the_past(bench):
    daily = bench.recurring.store(a_recurring_task(schedule_expression="0 8 * * *"))
    await bench.until(130)
    at = START + 130 * SECOND
    bench.recurring.store(daily.update(at=at, schedule_expression="*/5 * * * *"))

    await bench.until(301)

    assert bench.fired == [300]


async def test_a_change_between_judgement_and_write_is_judged_anew(bench):
    bench.recurring.store(every_second())

    async def pause(_task):
        bench.recurring.before_write = None
        bench.recurring.store(replace(bench.stored, paused=True))

    bench.recurring.before_write = pause
    await bench.until(3)

    assert bench.fired == []


async def test_news_that_are_older_than_what_is_known_are_ignored(bench):
    old = bench.recurring.store(every_second())
    bench.recurring.store(replace(bench.stored, paused=True))
    await bench.until(0.5)

    bench.scheduler.notify(old)
    await bench.until(3)

    assert bench.fired == []


# ---------------------------------------------------------------- skip if outstanding


async def test_nothing_is_enqueued_while_a_run_is_outstanding_in_any_queue(bench):
    bench.recurring.store(every_second(skip_if_outstanding_tasks_exist=True))
    bench.tasks.store(
        a_task(id="r", queue="old", recurring_task_id="recurring-1", scheduled_for=START)
    )
    await bench.until(3.5)
    assert bench.fired == [0]

    await bench.finish_runs()
    await bench.until(7)

    assert bench.fired == [0, 4]


async def test_one_question_is_asked_for_all_that_skip(bench):
    for number in range(4):
        task = every_second(id=f"r-{number}", skip_if_outstanding_tasks_exist=number > 0)
        bench.recurring.store(task)

    await bench.until(1)

    assert bench.runs.asked == [["r-1", "r-2", "r-3"]]
    assert len(bench.tasks.stored) == 4


async def test_what_can_not_be_counted_is_put_off_and_keeps_nobody_waiting(bench):
    bench.recurring.store(every_second(id="skips", skip_if_outstanding_tasks_exist=True))
    bench.recurring.store(every_second(id="other"))
    bench.runs.failures.append(StoreUnavailableError("down"))

    await bench.until(1)
    assert [task.recurring_task_id for task in bench.tasks.stored] == ["other"]
    await bench.until(3)

    assert "skips" in {task.recurring_task_id for task in bench.tasks.stored}


# ---------------------------------------------------------------- pending


def with_pending(**changes):
    """One whose task of `START` was decided on in the queue `mail`, by a leader that died."""
    run = PendingTask(queue="mail", task_id="recurring-1@2026-03-01T12:00:00Z", instant=START)
    return replace(a_recurring_task().advance(START, pending=(run,), at=START), **changes)


async def test_a_new_leader_finishes_what_is_pending(bench):
    bench.recurring.store(with_pending())

    await bench.until(1)

    assert bench.fired == [0]
    assert bench.stored.pending == ()


async def test_what_is_pending_goes_into_the_queue_that_was_decided_on(bench):
    bench.recurring.store(with_pending(definition=a_definition(queue="moved")))

    await bench.until(1)

    assert [task.queue for task in bench.tasks.stored] == ["mail"]


async def test_what_is_pending_of_a_deleted_one_is_finished(bench):
    bench.recurring.store(with_pending(is_deleted=True))

    await bench.until(1)

    assert bench.fired == [0]


async def test_what_is_pending_of_one_whose_schedule_is_broken_is_finished(bench):
    bench.recurring.store(with_pending())
    bench.recurring.break_document("recurring-1", is_readable=True)

    await bench.until(1)

    assert bench.fired == [0]


async def test_what_was_created_and_archived_is_not_created_again(bench):
    await bench.until(0.5)
    run = a_task(id="recurring-1@2026-03-01T12:00:00Z", queue="mail")
    bench.archive.archived["mail", run.id, run.incarnation] = run
    bench.recurring.store(with_pending())

    await bench.until(5)

    assert bench.fired == []
    assert bench.stored.pending == ()


async def test_what_can_not_be_looked_for_is_put_off_and_keeps_nobody_waiting(bench):
    bench.recurring.store(with_pending())
    bench.recurring.store(every_second(id="other"))
    bench.runs.failures += [StoreUnavailableError("the archive is red")] * 2

    await bench.until(1.5)
    assert bench.fired == [1]
    await bench.until(4.5)

    assert sorted(bench.fired) == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- failures


async def test_a_task_that_can_not_be_created_is_created_later(bench):
    bench.recurring.store(a_recurring_task())
    bench.tasks.fail_next(StoreUnavailableError("down"), of=Operation.CREATE)

    await bench.until(60)
    assert bench.fired == []
    await bench.until(63)

    assert bench.fired == [60]
    assert bench.stored.pending == ()
    assert bench.observer.lefts == {"scheduler": 1}


async def test_a_creation_that_landed_without_an_answer_is_not_repeated(bench):
    bench.recurring.store(a_recurring_task())
    lost = UnresolvedWriteError("mail", "t")
    bench.tasks.fail_next(lost, of=Operation.CREATE, landed=True)

    await bench.until(65)

    assert bench.fired == [60]
    assert bench.stored.pending == ()
    assert bench.tasks.calls[Operation.CREATE] == 1


async def test_a_decision_that_can_not_be_written_is_made_again(bench):
    bench.recurring.store(a_recurring_task())
    await bench.until(59.99)
    bench.recurring.failures += [None, UnresolvedRecurringWriteError("recurring-1")]

    await bench.until(65)

    assert bench.fired == [60]


async def test_a_task_that_is_refused_for_good_keeps_nobody_waiting(bench, caplog):
    bench.recurring.store(every_second(id="a-refused"))
    bench.recurring.store(every_second(id="other"))
    bench.tasks.fail_next(StoreRejectedError("no"), of=Operation.CREATE)

    await bench.until(4)

    others = [task for task in bench.tasks.stored if task.recurring_task_id == "other"]
    assert len(others) == 4
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.recurring_task_id for each in warnings] == ["a-refused"]


async def test_a_pass_that_fails_is_followed_by_one_that_goes_on(bench):
    bench.recurring.store(every_second())
    bench.recurring.failures.append(StoreUnavailableError("down"))

    await bench.until(3)

    assert bench.fired == [1, 2, 3]


async def test_the_id_of_a_run_may_be_taken(bench, caplog):
    bench.recurring.store(a_recurring_task())
    taken = a_task(id="recurring-1@2026-03-01T12:01:00Z", scheduled_for=START)
    bench.tasks.store(taken)

    await bench.until(125)

    assert bench.fired == [0, 120]
    assert bench.stored.pending == ()
    assert "taken by another task" in caplog.text


async def test_a_broken_document_is_put_aside_with_one_warning(bench, caplog):
    bench.recurring.store(every_second(id="broken"))
    bench.recurring.break_document("broken")
    bench.recurring.store(a_recurring_task(id="nonsense", schedule_expression="61 * * * *"))
    bench.recurring.store(every_second(id="good"))

    await bench.until(5)

    assert bench.fired == [1, 2, 3, 4, 5]
    warned = [each.recurring_task_id for each in caplog.records if each.levelno >= logging.WARNING]
    assert sorted(warned) == ["broken", "nonsense"]


# ---------------------------------------------------------------- deleted


async def test_a_deleted_one_is_purged_after_a_while(bench):
    bench.recurring.store(every_second(is_deleted=True))

    await bench.until(KEPT_DELETED.total_seconds() - 1)
    assert bench.stored.is_deleted
    await bench.until(KEPT_DELETED.total_seconds() + 1)

    assert bench.recurring.stored == []


async def test_a_deleted_one_whose_schedule_is_broken_is_purged_too(bench):
    bench.recurring.store(every_second(is_deleted=True))
    bench.recurring.break_document("recurring-1", is_readable=True)

    await bench.until(KEPT_DELETED.total_seconds() + 1)

    assert bench.recurring.stored == []


async def test_what_can_not_be_purged_is_purged_later(bench):
    bench.recurring.store(every_second(is_deleted=True))
    await bench.until(KEPT_DELETED.total_seconds() - 0.5)
    bench.recurring.failures += [None, StoreUnavailableError("down")]

    await bench.until(KEPT_DELETED.total_seconds() + 5)

    assert bench.recurring.stored == []
    assert bench.observer.lefts == {"scheduler": 1}


async def test_one_that_was_purged_by_another_server_is_forgotten(bench):
    bench.recurring.store(every_second())
    await bench.until(3.5)
    bench.recurring.remove("recurring-1")

    await bench.until(8)

    assert bench.fired == [1, 2, 3]


async def test_a_leader_that_is_deposed_forgets_what_it_knew(bench):
    stored = bench.recurring.store(every_second(misfire_policy=MisfirePolicy.FIRE_ALL))
    await bench.until(2.5)
    bench.is_leader = False
    await bench.until(3.5)
    bench.recurring.store(replace(stored, last_instant=START + 5 * SECOND))
    bench.is_leader = True

    await bench.until(7.5)

    assert bench.fired == [1, 2, 6, 7]


async def test_an_id_that_is_used_again_is_not_purged(bench):
    bench.recurring.store(every_second(is_deleted=True))
    await bench.until(59.99)
    bench.recurring.store(every_second(schedule_since=START + 59 * SECOND))

    await bench.until(62)

    assert bench.fired == [60, 61, 62]


# ---------------------------------------------------------------- very many


async def test_a_pass_takes_only_so_many_tasks_and_the_next_goes_on():
    bench = Bench()  # its scheduler does not run by itself
    for number in range(45):
        task = every_second(id=f"r-{number:02}", misfire_policy=MisfirePolicy.FIRE_ALL)
        bench.recurring.store(task)
    await bench.until(200.5)

    passes = []
    while enqueued := await bench.scheduler.run_once():
        passes.append(enqueued)

    assert max(passes) <= 4100
    assert len(bench.fired) == 45 * 200
    assert set(bench.fired) == set(range(1, 201))
