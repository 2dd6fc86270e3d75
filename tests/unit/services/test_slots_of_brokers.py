"""Several processes that hand out the tasks of one queue, on one clock that only tests move."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fakes import FakeClock, InMemoryTaskRepository, Operation
from shop import Shop, ids, running, some_tasks

from tasques.services.slots import Slots

WRITING = 0.004
SEARCHING = 0.01
FEW = 0.01  # conflicts per claim
PER_SECOND = 500  # tasks that 32 workers get through


@dataclass
class Street:
    """Shops that share what is stored, and in each a number of workers."""

    shops: list[Shop]
    tasks: InMemoryTaskRepository
    clock: FakeClock
    got: dict[str, tuple[int, float]] = field(default_factory=dict)
    _workers: list[asyncio.Task[None]] = field(default_factory=list)

    def work(self, shop, *, workers, seconds):
        """Let workers of one shop claim one task after the other; each task takes so long."""
        for number in range(workers):
            work = self._work(shop, f"{shop}-{number}", seconds)
            self._workers.append(asyncio.create_task(work))

    async def _work(self, shop, name, seconds):
        while True:
            for task_id in ids(await self.shops[shop].claim(name)):
                assert task_id not in self.got
                self.got[task_id] = (shop, self.clock.monotonic())
            await self.clock.sleep(seconds)

    async def until_all_are_claimed(self, *, within):
        """Let time pass until nothing is left; that must not take longer than so many seconds."""
        while len(self.got) < len(self.tasks.stored):
            assert not any(worker.done() for worker in self._workers)
            assert self.clock.monotonic() < within, f"{len(self.got)} were claimed"
            await self.clock.advance(0.05)

    def close(self):
        for worker in self._workers:
            worker.cancel()

    @property
    def conflicts_per_claim(self):
        tried, done = self.tasks.calls[Operation.UPDATE], len(self.tasks.writes)
        return (tried - done) / done


@asynccontextmanager
async def street(processes):
    clock, tasks = FakeClock(), InMemoryTaskRepository()
    tasks.before_update = lambda _: clock.sleep(WRITING)
    tasks.before_search = lambda: clock.sleep(SEARCHING)
    async with AsyncExitStack() as stack:
        shops = [
            await stack.enter_async_context(
                running(Shop(tasks=tasks, clock=clock, slots=Slots(number, processes)))
            )
            for number in range(processes)
        ]
        there = Street(shops, tasks, clock)
        try:
            yield there
        finally:
            there.close()


@pytest.mark.parametrize("processes", [2, 4, 8])
@pytest.mark.parametrize("tasks", [500, 2000])
async def test_processes_that_drain_a_queue_seldom_want_the_same_task(processes, tasks):
    """Neither while there is plenty for a long time, nor at the end."""
    async with street(processes) as there:
        await there.shops[0].lay(*some_tasks(tasks))
        for number in range(processes):
            there.work(number, workers=32 // processes, seconds=0.05)

        await there.until_all_are_claimed(within=tasks / PER_SECOND + 1)

        assert there.conflicts_per_claim <= FEW


@pytest.mark.parametrize("processes", [2, 4])
async def test_the_work_of_a_slow_process_is_shared_by_the_others(processes):
    async with street(processes) as there:
        await there.shops[0].lay(*some_tasks(1000))
        there.work(0, workers=1, seconds=0.2)
        for number in range(1, processes):
            there.work(number, workers=32 // (processes - 1), seconds=0.05)

        await there.until_all_are_claimed(within=1000 / PER_SECOND + 2)

        assert there.conflicts_per_claim <= FEW


@pytest.mark.parametrize("processes", [2, 4])
async def test_the_work_of_a_dead_process_is_shared_by_the_others(processes):
    """Even if nobody notices that it is dead; and what is oldest does not wait for the rest."""
    async with street(processes) as there:
        await there.shops[0].lay(*some_tasks(1000))
        for number in range(1, processes):
            there.work(number, workers=32 // (processes - 1), seconds=0.05)

        await there.until_all_are_claimed(within=1000 / PER_SECOND + 1)

        assert there.conflicts_per_claim <= FEW
        oldest = [there.got[f"{number:05}"][1] for number in range(10)]
        assert max(oldest) < 2


async def test_one_process_takes_over_the_work_of_all_others_that_are_slow():
    async with street(4) as there:
        await there.shops[0].lay(*some_tasks(1000))
        for number in range(3):
            there.work(number, workers=1, seconds=0.2)
        there.work(3, workers=32, seconds=0.05)

        await there.until_all_are_claimed(within=1000 / PER_SECOND + 4)

        assert there.conflicts_per_claim <= FEW


async def test_priorities_hold_over_several_processes():
    """But for what is being claimed at that very moment by another process."""
    async with street(2) as there:
        high = some_tasks(200, priority=1)
        low = [task._replace(id=f"low-{task.id}") for task in some_tasks(200)]
        await there.shops[0].lay(*low, *high)
        there.work(1, workers=8, seconds=0.05)
        there.work(0, workers=1, seconds=0.2)

        await there.until_all_are_claimed(within=20)

        last_high = max(at for name, (_, at) in there.got.items() if not name.startswith("low"))
        first_low = min(at for name, (_, at) in there.got.items() if name.startswith("low"))
        assert last_high <= first_low + WRITING
