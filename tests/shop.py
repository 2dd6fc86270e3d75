"""The services: over a repository in memory, on a clock that only tests move, or over others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from random import Random

from factories import START, a_new_task, a_task
from fake_archive import InMemoryTaskArchive
from fakes import FakeClock, InMemoryTaskRepository, Operation, settle

from tasques.background_tasks import BackgroundTasks
from tasques.services.broker_limits import BrokerLimits
from tasques.services.claims import ClaimBroker
from tasques.services.giving_back import GivingBack
from tasques.services.last_seen import LastSeen
from tasques.services.slots import Slots
from tasques.services.tasks import TaskService
from tasques.unique import UniqueMarks

PATIENCE = 30.0  # seconds; only a test that fails waits so long
FOR_LONG = timedelta(seconds=PATIENCE)
NO_TIME = timedelta(0)


@dataclass
class Shop:
    """Everything that serves workers, and what is behind it."""

    limits: BrokerLimits = field(default_factory=BrokerLimits)
    last_seen: LastSeen = field(default_factory=lambda: LastSeen(max_tasks=10_000, max_bytes=10**9))
    tasks: InMemoryTaskRepository = field(default_factory=InMemoryTaskRepository)
    archive: InMemoryTaskArchive = field(default_factory=InMemoryTaskArchive)
    clock: FakeClock = field(default_factory=FakeClock)
    background: BackgroundTasks = field(default_factory=BackgroundTasks)
    slots: Slots = field(default_factory=Slots)

    def __post_init__(self):
        numbers = count()
        new_mark = UniqueMarks()
        self.giving_back = GivingBack(
            tasks=self.tasks, clock=self.clock, random=Random(1), background=self.background
        )
        self.broker = ClaimBroker(
            tasks=self.tasks,
            last_seen=self.last_seen,
            clock=self.clock,
            new_claim_id=new_mark,
            giving_back=self.giving_back,
            background=self.background,
            slots=self.slots,
            limits=self.limits,
        )
        self.service = TaskService(
            tasks=self.tasks,
            archive=self.archive,
            claimable=self.broker,
            last_seen=self.last_seen,
            clock=self.clock,
            random=Random(1),
            new_task_id=lambda: f"task-{next(numbers)}",
            new_incarnation=new_mark,
            conflict_retries=3,
        )

    @property
    def searches(self):
        """How many requests to search were made."""
        return self.tasks.calls[Operation.SEARCH]

    @property
    def refreshes(self):
        """How many refreshes were asked for."""
        return self.tasks.calls[Operation.REFRESH]

    @property
    def creates(self):
        """How many writes of new tasks were begun."""
        return self.tasks.calls[Operation.CREATE]

    @property
    def updates(self):
        """How many writes over existing tasks were begun."""
        return self.tasks.calls[Operation.UPDATE]

    async def lay(self, *tasks):
        """Put tasks into the store, visible to searches and unknown to this process."""
        stored = [self.tasks.store(task) for task in tasks]
        await self.tasks.refresh()
        self.tasks.calls.clear()
        return stored

    async def enqueue(self, task_id, **changes):
        """Create a task as clients do."""
        return await self.service.create(a_new_task(id=task_id, **changes))

    async def enqueue_all(self, *tasks):
        """Create several tasks in one batch, each given by what is special about it."""
        return await self.service.create_all([a_new_task(**each) for each in tasks])

    async def claim(self, worker="worker-1", *, queues=("mail",), amount=1, block_for=FOR_LONG):
        """Claim, with an end even where the broker has none."""
        async with asyncio.timeout(PATIENCE):
            return await self.broker.claim(
                worker_id=worker, queues=queues, amount=amount, block_for=block_for
            )

    async def look(self, worker="worker-1", **arguments):
        """Claim without waiting, later than whatever was searched before."""
        await self.clock.advance(0.001)
        return await self.claim(worker, block_for=NO_TIME, **arguments)

    def begin(self, worker="worker-1", **arguments):
        """Begin to claim."""
        return asyncio.create_task(self.claim(worker, **arguments))

    async def park(self, *workers, **arguments):
        """Let workers wait until the broker has looked for them and has nothing more to do."""
        claims = [self.begin(worker, **arguments) for worker in workers]
        await settle()
        return claims if len(claims) > 1 else claims[0]


def ids(claimed):
    """Which tasks were claimed, in order."""
    return [each.task.id for each in claimed]


def some_tasks(number, **changes):
    """Tasks with ids by which they can be told apart; each is due a second after the one before."""
    return [
        a_task(id=f"{each:05}", **{"run_at": START - timedelta(seconds=number - each)} | changes)
        for each in range(number)
    ]


@asynccontextmanager
async def running(shop, *, seconds=0):
    """Let claims be served; what they leave behind has that many seconds to end."""
    loop = asyncio.create_task(shop.broker.run())
    try:
        yield shop
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
        shop.broker.close()
        await shop.background.drain(seconds)
