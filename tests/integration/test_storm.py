from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from factories import a_new_task
from shop import Shop, running

from tasques.clock import SystemClock
from tasques.domain.task import TaskState
from tasques.services.slots import Slots

pytestmark = pytest.mark.elasticsearch

TASKS = 2_000
WORKERS = 32
PATIENCE = 180
A_WHILE = timedelta(seconds=1)


class Ledger:
    """An account of every attempt, kept by the workers themselves.

    A task is out of a worker's hands when the worker begins to say so: from then on it may be
    handed to others, even before the answer.
    """

    def __init__(self):
        self.holders = {}
        self.attempts = Counter()
        self.ended = {}
        self.last_worker = {}
        self.unclaims = 0
        self.undone = 0

    def take(self, task, worker):
        assert task.id not in self.holders, f"{task.id} is in the hands of two"
        # On a slow machine a task that failed may be due again before all is over.
        state = self.ended.pop(task.id, TaskState.QUEUED)
        assert state is not TaskState.DONE, f"{task.id} was done"
        assert task.run_at <= task.last_claimed.claimed_at, f"{task.id} was not due"
        assert task.last_claimed.worker_id == worker
        self.attempts[task.id] += 1
        assert task.attempted == self.attempts[task.id], f"{task.id}: an attempt is missing"
        self.holders[task.id] = worker
        self.last_worker[task.id] = worker

    def end(self, task_id, state):
        del self.holders[task_id]
        self.ended[task_id] = state

    def unclaim(self, task_id):
        del self.holders[task_id]
        self.attempts[task_id] -= 1
        self.unclaims += 1


class Worker:
    """Claims, and then does anything that a worker may do; now and then it vanishes."""

    def __init__(self, name, shop, ledger, random):
        self.name = name
        self._shop = shop
        self._ledger = ledger
        self._random = random

    async def run(self):
        while len(self._ledger.ended) < TASKS:
            for each in await self._claim():
                self._ledger.take(each.task, self.name)
                await self._handle(each.task)

    async def _claim(self):
        claim = self._shop.begin(self.name, amount=self._random.randint(1, 8), block_for=A_WHILE)
        if self._random.random() < 0.1:
            await asyncio.sleep(self._random.uniform(0, 0.05))
            claim.cancel()
            self._ledger.undone += 1
        try:
            return await claim
        except asyncio.CancelledError:
            return []

    async def _handle(self, task):
        service = self._shop.service
        choice = self._random.random()
        if choice < 0.1:
            await service.report(task.queue, task.id, worker_id=self.name, data=None)
        if choice < 0.2:
            self._ledger.unclaim(task.id)
            await service.unclaim(task.queue, task.id, worker_id=self.name)
        elif choice < 0.5:
            self._ledger.end(task.id, TaskState.FAILED)
            await service.fail(task.queue, task.id, worker_id=self.name, failure=None)
        else:
            self._ledger.end(task.id, TaskState.DONE)
            await service.complete(task.queue, task.id, worker_id=self.name, success=None)


async def storm(shops):
    """Create all tasks while workers at all servers fall upon them; return their account."""
    ledger = Ledger()
    random = Random(1)
    workers = [
        Worker(f"worker-{number}", shops[number % len(shops)], ledger, Random(number))
        for number in range(WORKERS)
    ]

    async def create(number):
        await asyncio.sleep(random.uniform(0, 2))
        task = a_new_task(
            id=f"{number}", priority=random.randint(-2, 2), run_at=datetime.now(UTC), retry_times=9
        )
        await shops[number % len(shops)].service.create(task)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(TASKS):
            group.create_task(create(number))
        for worker in workers:
            group.create_task(worker.run())
    return ledger


async def check(ledger, shop):
    """Compare every stored task with the account."""
    assert ledger.holders == {}
    assert len(ledger.ended) == TASKS
    tasks = [await shop.service.get("mail", f"{number}") for number in range(TASKS)]
    for task in tasks:
        assert task.state is ledger.ended[task.id]
        assert task.attempted == ledger.attempts[task.id] >= 1
        assert task.last_claimed.worker_id == ledger.last_worker[task.id]
    assert ledger.unclaims > 0
    assert ledger.undone > 0


async def test_a_storm_of_workers_holds_no_task_twice_and_loses_none(elasticsearch_repository):
    """No task is in two hands at once, none is lost, and every attempt is accounted for."""
    shop = Shop(tasks=elasticsearch_repository, clock=SystemClock())
    async with running(shop, seconds=10):
        ledger = await storm([shop])

    await check(ledger, shop)
    assert shop.broker.parked == 0
    assert len(shop.background) == 0


@pytest.mark.parametrize("slots", [(Slots(), Slots()), (Slots(0, 2), Slots(1, 2))])
async def test_a_storm_over_two_servers(elasticsearch_repository, slots):
    """Two servers that share an index hand out no task twice, with or without slots."""
    shops = [
        Shop(tasks=elasticsearch_repository, clock=SystemClock(), slots=each) for each in slots
    ]
    async with running(shops[0], seconds=10), running(shops[1], seconds=10):
        ledger = await storm(shops)

    await check(ledger, shops[0])
