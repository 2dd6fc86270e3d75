from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_task
from fake_archive import InMemoryTaskArchive
from fakes import PAGE, FakeClock, RecordingObserver

from tasques.background.archiver import Archiver
from tasques.background.roller import Roller
from tasques.domain.errors import StoreBlockedError, StoreRejectedError, StoreUnavailableError

DAY = timedelta(days=1)


class Bench:
    """An archiver a day after the start, and what is around it."""

    def __init__(self):
        self.archive = InMemoryTaskArchive()
        self.is_leader = True
        self.observer = RecordingObserver()
        self.archiver = Archiver(
            archive=self.archive,
            clock=FakeClock(START + DAY),
            older_than=DAY,
            is_leader=lambda: self.is_leader,
            interval=60,
            observer=self.observer,
        )

    async def lay(self, *tasks):
        for task in tasks:
            self.archive.tasks.store(task)
        await self.archive.tasks.refresh()

    @property
    def left(self):
        return [task.id for task in self.archive.tasks.stored]

    @property
    def archived(self):
        return sorted(task.id for task in self.archive.archived.values())


@pytest.fixture
def bench():
    return Bench()


def done(task_id="task-1", at=START):
    return a_claimed_task(id=task_id).complete(worker_id="worker-1", at=at, success=None)


def done_tasks(count):
    return [done(f"task-{number}") for number in range(count)]


async def test_tasks_that_were_finished_long_enough_ago_are_moved(bench):
    dead = a_claimed_task(id="dead", retry_times=0).time_out(at=START, retry_at=START)
    fresh = done("fresh", at=START + timedelta(seconds=1))
    await bench.lay(done("done"), dead, fresh, a_task(id="queued"), a_claimed_task(id="claimed"))

    assert await bench.archiver.run_once() == 2

    assert bench.archived == ["dead", "done"]
    assert bench.left == ["fresh", "queued", "claimed"]


async def test_many_tasks_are_moved_page_by_page(bench):
    await bench.lay(*done_tasks(3 * PAGE + 1))

    assert await bench.archiver.run_once() == 3 * PAGE + 1

    assert bench.left == []
    assert max(bench.archive.stores) == PAGE


async def test_what_the_archive_refuses_stays_and_does_not_stop_the_rest(bench, caplog):
    tasks = done_tasks(2 * PAGE)
    await bench.lay(*tasks)
    for task in tasks[:PAGE]:
        bench.archive.refused[task.id] = StoreRejectedError(f"no room for {task.id}")

    with caplog.at_level(logging.WARNING):
        assert await bench.archiver.run_once() == PAGE

    assert bench.left == [task.id for task in tasks[:PAGE]]
    (line,) = caplog.records
    assert line.tasks == PAGE
    assert "mail:task-0: no room for task-0" in line.examples
    assert bench.observer.lefts == {"archiver": PAGE}


async def test_an_archive_that_takes_nothing_is_not_asked_for_each_of_many_pages(bench, caplog):
    await bench.lay(*done_tasks(10 * PAGE))
    bench.archive.refused["*"] = StoreBlockedError("blocked")

    with caplog.at_level(logging.WARNING):
        assert await bench.archiver.run_once() == 0

    assert len(bench.archive.stores) == 3
    assert len(bench.left) == 10 * PAGE
    assert [line.tasks for line in caplog.records] == [3 * PAGE]


async def test_refused_tasks_at_the_head_never_keep_the_others_from_being_moved(bench):
    tasks = done_tasks(6 * PAGE)
    await bench.lay(*tasks)
    head = sorted(task.id for task in tasks)[: 5 * PAGE]
    bench.archive.refused |= dict.fromkeys(head, StoreRejectedError("never"))

    assert await bench.archiver.run_once() == PAGE


async def test_who_loses_the_lead_after_storing_leaves_the_rest_to_the_next(bench):
    await bench.lay(*done_tasks(2 * PAGE))

    async def is_deposed():
        bench.is_leader = False

    bench.archive.between = is_deposed
    assert await bench.archiver.run_once() == 0
    assert len(bench.left) == 2 * PAGE
    assert len(bench.archived) == PAGE

    bench.is_leader, bench.archive.between = True, None
    assert await bench.archiver.run_once() == 2 * PAGE
    assert len(bench.archived) == 2 * PAGE
    assert bench.left == []


async def test_who_does_not_lead_moves_nothing(bench):
    await bench.lay(done())
    bench.is_leader = False

    assert await bench.archiver.run_once() == 0

    assert bench.archived == []


async def test_a_task_that_was_used_again_meanwhile_is_not_removed(bench):
    await bench.lay(done())
    again = a_task()

    async def is_used_again():
        bench.archive.tasks.store(again)

    bench.archive.between = is_used_again

    assert await bench.archiver.run_once() == 0
    assert [task.incarnation for task in bench.archive.tasks.stored] == [again.incarnation]


async def test_what_was_found_out_is_logged_when_a_pass_is_broken_off(bench, caplog):
    await bench.lay(*done_tasks(2 * PAGE))
    bench.archive.refused["*"] = StoreRejectedError("never")

    async def is_down():
        if len(bench.archive.stores) == 2:
            raise StoreUnavailableError("down")

    bench.archive.between = is_down

    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailableError):
        await bench.archiver.run_once()

    assert [line.tasks for line in caplog.records] == [PAGE]


async def test_the_archive_is_rolled_over_when_it_is_due_and_by_the_leader_alone(bench, caplog):
    bench.archive.due_indices = ["archive-2"]
    roller = Roller(archive=bench.archive, is_leader=lambda: bench.is_leader, interval=60)

    bench.is_leader = False
    assert await roller.run_once() == 0
    bench.is_leader = True
    with caplog.at_level(logging.INFO):
        assert await roller.run_once() == 1
    assert await roller.run_once() == 0

    assert [line.index for line in caplog.records] == ["archive-2"]
