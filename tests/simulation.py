"""Servers that follow schedules on an unreliable store, and that are killed, frozen and deceived.

Everything is drawn from one seed and happens on a clock that a test moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from fake_archive import InMemoryTaskArchive
from fake_recurring import InMemoryRecurringTaskRepository
from fake_runs import InMemoryRunRepository
from fakes import FakeClock, InMemoryTaskRepository, settle

from tasques.background.scheduler import Scheduler
from tasques.domain.errors import (
    NotLeadingError,
    RecurringTaskConflictError,
    StoreUnavailableError,
    TasquesError,
    UnresolvedWriteError,
)
from tasques.domain.recurring import RecurringTask
from tasques.domain.task import Task, TaskState

ARCHIVED_AFTER = 30.0  # seconds; longer than a server is frozen
MAX_SKEW = 2.0


@dataclass(slots=True)
class RecordedTasks(InMemoryTaskRepository):
    """Notes what was created, and which outstanding runs there were at that moment."""

    created: list[Task] = field(default_factory=list)
    beside: list[tuple[Task, Task]] = field(default_factory=list)

    def store(self, task: Task) -> Task:
        if task.version is None:
            finished = (TaskState.DONE, TaskState.DEAD)
            self.created.append(task)
            self.beside += [
                (task, other)
                for other in self.stored
                if other.recurring_task_id == task.recurring_task_id and other.state not in finished
            ]
        return InMemoryTaskRepository.store(self, task)


class World:
    """What all servers share."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = FakeClock()
        self.recurring = InMemoryRecurringTaskRepository()
        self.tasks = RecordedTasks()
        self.archive = InMemoryTaskArchive(self.tasks)
        self.runs = InMemoryRunRepository(self.archive)
        self.faults = 0.05  # how often a request fails
        self.servers: list[Server] = []

    def work(self) -> None:
        """Finish some tasks, and archive what was finished long ago."""
        now = self.clock.now()
        for task in self.tasks.stored:
            result = task.last_claimed and task.last_claimed.result
            if result is not None:
                if now - result.at > timedelta(seconds=ARCHIVED_AFTER):
                    key = (task.queue, task.id, task.incarnation)
                    self.archive.archived[key] = task._replace(archived=True)
                    self.tasks.remove(task.queue, task.id)
            elif self.random.random() < 0.4:
                claimed = task.claim(worker_id="w", at=now, claim_id="c")
                self.tasks.store(claimed.complete(worker_id="w", at=now, success=None))

    async def change(self, recurring_task_id: str, **changes: Any) -> None:
        """Change a recurring task as a client does, whatever it takes."""
        while True:
            stored = await self.recurring.get(recurring_task_id)
            assert isinstance(stored, RecurringTask)
            try:
                await self.recurring.update(stored.update(at=self.clock.now(), **changes))
            except RecurringTaskConflictError:
                continue
            return

    async def lead(self, *, skew: float = 0.0) -> Server:
        """Start a server that leads from now on; what the others believe is their affair."""
        server = Server(self, skew)
        self.servers.append(server)
        await settle()
        return server

    async def end(self) -> None:
        """Kill all servers; none may have ended by itself."""
        for server in self.servers:
            if not server.is_killed:
                assert not server.loop.done(), server.loop
                await server.kill()


class SkewedClock:
    """A host's clock, which is wrong by some seconds. Implements `Clock`."""

    def __init__(self, clock: FakeClock, skew: float) -> None:
        self._clock = clock
        self._skew = timedelta(seconds=skew)
        self.monotonic = clock.monotonic
        self.boottime = clock.boottime
        self.sleep = clock.sleep

    def now(self) -> datetime:
        return self._clock.now() + self._skew


class Server:
    """One scheduler, and its connection to the store."""

    def __init__(self, world: World, skew: float) -> None:
        self._world = world
        self.believes_to_lead = True
        self.is_frozen = False
        self.is_killed = False
        self.is_reliable = False
        scheduler = Scheduler(
            recurring_tasks=_Recurring(world.recurring, self),
            tasks=_Tasks(world.tasks, self),
            runs=_Runs(world.runs, self),
            offer=lambda _: None,
            clock=SkewedClock(world.clock, skew),
            is_leader=lambda: self.believes_to_lead,
            interval=1.0,
        )
        self.loop = asyncio.ensure_future(scheduler.run())

    async def kill(self) -> None:
        self.is_killed = True
        self.loop.cancel()
        await settle()

    async def on_the_way(self) -> None:
        """Take some time, and as long as this server is frozen."""
        random = self._world.random
        if not self.is_reliable and random.random() < 0.3:
            await self._world.clock.sleep(random.choice((0.01, 0.1, 0.7)))
        while self.is_frozen:
            await self._world.clock.sleep(0.1)

    def fails(self) -> bool:
        return not self.is_reliable and self._world.random.random() < self._world.faults

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        await self.on_the_way()
        if self.fails():
            raise StoreUnavailableError("down")
        answer = await question()
        await self.on_the_way()
        return answer

    async def write(
        self, write: Callable[[], Awaitable[Any]], may_write: Callable[[], bool] = lambda: True
    ) -> Any:
        """One item: it may be refused, or succeed without an answer."""
        await self.on_the_way()
        if self.fails():
            return StoreUnavailableError("down")
        if not may_write():
            return NotLeadingError()
        try:
            answer = await write()
        except TasquesError as error:
            answer = error
        await self.on_the_way()
        return UnresolvedWriteError("q", "t") if self.fails() else answer


class _Recurring:
    def __init__(self, store: InMemoryRecurringTaskRepository, server: Server) -> None:
        self._store, self._server = store, server

    async def get(self, recurring_task_id):
        return await self._server.ask(lambda: self._store.get(recurring_task_id))

    async def changed_since(self, mark, is_known):
        return await self._server.ask(lambda: self._store.changed_since(mark, is_known))

    async def update_all(self, tasks):
        write = self._server.write
        return [await write(lambda task=task: self._store.update(task)) for task in tasks]

    async def purge(self, recurring_task_id, version):
        await self._server.ask(lambda: self._store.purge(recurring_task_id, version))


class _Tasks:
    def __init__(self, store: InMemoryTaskRepository, server: Server) -> None:
        self._store, self._server = store, server

    async def create_all(self, tasks: Sequence[Task], *, may_write):
        write = self._server.write
        return [
            await write(lambda task=task: self._store.create(task), may_write) for task in tasks
        ]


class _Runs:
    def __init__(self, store: InMemoryRunRepository, server: Server) -> None:
        self._store, self._server = store, server

    async def existing(self, pending):
        return await self._server.ask(lambda: self._store.existing(pending))

    async def outstanding(self, tasks):
        return await self._server.ask(lambda: self._store.outstanding(tasks))
