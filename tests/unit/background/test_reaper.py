from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from factories import START, a_claimed_task
from fakes import PAGE, FakeClock, InMemoryTaskRepository, Operation, RecordingObserver

from tasques.background.reaper import Reaper
from tasques.domain.errors import StoreUnavailableError
from tasques.domain.ports import Lane
from tasques.domain.task import TIMED_OUT, TaskState

SECOND = timedelta(seconds=1)
OVER = START + timedelta(minutes=30)


class Bench:
    """A reaper, and what is around it."""

    def __init__(self):
        self.tasks = InMemoryTaskRepository()
        self.clock = FakeClock(OVER)
        self.is_leader = True
        self.observer = RecordingObserver()
        self.reaper = Reaper(
            tasks=self.tasks,
            clock=self.clock,
            random=Random(1),
            is_leader=lambda: self.is_leader,
            interval=15,
            observer=self.observer,
        )

    async def lay(self, *tasks):
        for task in tasks:
            self.tasks.store(task)
        await self.tasks.refresh()


@pytest.fixture
def bench():
    return Bench()


def claimed_tasks(count):
    return [a_claimed_task(id=f"task-{number}") for number in range(count)]


async def test_a_claim_whose_time_is_over_is_failed_on_behalf_of_its_worker(bench):
    await bench.lay(a_claimed_task())

    assert await bench.reaper.run_once() == 1

    (task,) = bench.tasks.stored
    assert task.state is TaskState.FAILED
    assert task.last_claimed.worker_id == "worker-1"
    assert task.last_claimed.result.failure == TIMED_OUT
    assert task.last_claimed.result.at == task.last_enqueued_at == OVER
    assert OVER + 15 * SECOND <= task.run_at <= OVER + 44 * SECOND
    assert bench.tasks.writes == [(task, Lane.CLAIM)]


async def test_a_claim_that_still_has_time_is_left_alone(bench):
    claimed = a_claimed_task()
    await bench.lay(claimed.report(worker_id="worker-1", at=START + SECOND, data=None))

    assert await bench.reaper.run_once() == 0


async def test_a_task_without_attempts_is_dead(bench):
    await bench.lay(a_claimed_task(retry_times=0))

    assert await bench.reaper.run_once() == 1

    assert bench.tasks.stored[0].state is TaskState.DEAD


async def test_what_a_worker_sent_meanwhile_wins(bench):
    faster, slower = a_claimed_task(id="faster"), a_claimed_task(id="slower")
    await bench.lay(faster, slower)
    done = faster.complete(worker_id="worker-1", at=OVER, success=None)
    bench.tasks.store(done)

    assert await bench.reaper.run_once() == 1

    states = {task.id: task.state for task in bench.tasks.stored}
    assert states == {"faster": TaskState.DONE, "slower": TaskState.FAILED}


async def test_a_task_that_is_gone_meanwhile_is_no_trouble(bench):
    await bench.lay(*claimed_tasks(2))
    bench.tasks.remove("mail", "task-0")

    assert await bench.reaper.run_once() == 1


async def test_each_page_is_failed_at_its_own_instant(bench):
    await bench.lay(*claimed_tasks(PAGE + 1))

    async def time_passes(task):
        await bench.clock.advance(1)

    bench.tasks.before_update = time_passes
    await bench.reaper.run_once()

    ended = [task.last_claimed.result.at for task in bench.tasks.stored]
    assert ended == [OVER] * PAGE + [OVER + PAGE * SECOND]


async def test_who_does_not_lead_any_more_writes_nothing_further(bench):
    await bench.lay(*claimed_tasks(2 * PAGE))

    async def is_deposed(task):
        bench.is_leader = False

    bench.tasks.before_update = is_deposed

    assert await bench.reaper.run_once() == 1
    assert len(bench.tasks.writes) == 1


async def test_who_does_not_lead_writes_nothing(bench):
    await bench.lay(a_claimed_task())
    bench.is_leader = False

    assert await bench.reaper.run_once() == 0

    assert bench.tasks.writes == []


async def test_a_store_that_takes_nothing_now_is_left_alone_until_the_next_pass(bench):
    await bench.lay(*claimed_tasks(2 * PAGE))
    bench.tasks.fail_next(StoreUnavailableError("full"), of=Operation.UPDATE)

    assert await bench.reaper.run_once() == PAGE - 1
    assert bench.observer.lefts == {"reaper": 1}
    await bench.tasks.refresh()
    assert await bench.reaper.run_once() == PAGE + 1


async def test_a_search_that_fails_ends_the_pass(bench):
    bench.tasks.fail_next(StoreUnavailableError("down"), of=Operation.TIMED_OUT)

    with pytest.raises(StoreUnavailableError):
        await bench.reaper.run_once()


async def test_a_broken_document_does_not_stop_the_rest(bench):
    await bench.lay(*claimed_tasks(2))
    bench.tasks.break_document("mail", "task-0")

    assert await bench.reaper.run_once() == 1
