"""Recurring tasks in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from fakes import in_pages

from tasques.domain.errors import (
    RecurringTaskAlreadyExistsError,
    RecurringTaskConflictError,
    RecurringTaskNotFoundError,
    TasquesError,
)
from tasques.domain.recurring import BrokenRecurringTask, RecurringTask, StoredRecurringTask
from tasques.domain.recurring_ports import ChangeMark, Changes
from tasques.domain.task import Version


@dataclass(slots=True)
class InMemoryRecurringTaskRepository:
    """Recurring tasks in a dictionary. Implements `RecurringTaskRepository`.

    Attributes:
        before_write: awaited before each update is judged; it may `store` and `remove`.
        writes: what was written, in order.
        failures: raised by the next calls, one each; None lets one pass.
    """

    before_write: Callable[[RecurringTask], Awaitable[None]] | None = None
    writes: list[RecurringTask] = field(default_factory=list)
    failures: list[Exception | None] = field(default_factory=list)
    _tasks: dict[str, StoredRecurringTask] = field(default_factory=dict)
    _writes_so_far: count[int] = field(default_factory=count)

    # ------------------------------------------------------------------ what tests may do

    def store(self, task: RecurringTask) -> RecurringTask:
        """Write whatever is there, as another server might have."""
        stored = replace(task, version=self._next_version())
        self._tasks[task.id] = stored
        return stored

    def break_document(
        self, recurring_task_id: str, *, reason: str = "broken by a test", is_readable: bool = False
    ) -> None:
        """Spoil what is stored, or only its schedule, as another program might have."""
        task = self._tasks.get(recurring_task_id)
        readable = task if is_readable and isinstance(task, RecurringTask) else None
        version = self._next_version()
        self._tasks[recurring_task_id] = BrokenRecurringTask(
            id=recurring_task_id,
            reason=reason,
            version=version,
            task=readable and replace(readable, version=version),
        )

    def remove(self, recurring_task_id: str) -> None:
        """Take one away."""
        del self._tasks[recurring_task_id]

    @property
    def stored(self) -> list[StoredRecurringTask]:
        """Every recurring task as it is now, in the order of creation."""
        return list(self._tasks.values())

    # ------------------------------------------------------------------ the port

    async def create(self, task: RecurringTask) -> RecurringTask:
        await self._begin()
        there = self._tasks.get(task.id)
        if there is None:
            return self._write(task)
        if not isinstance(there, RecurringTask):
            raise RecurringTaskAlreadyExistsError(task.id)
        if there.incarnation == task.incarnation:
            return there
        if not there.is_deleted:
            raise RecurringTaskAlreadyExistsError(task.id)
        return self._write(task.replacing(there))

    async def get(self, recurring_task_id: str) -> StoredRecurringTask:
        await self._begin()
        task = self._tasks.get(recurring_task_id)
        if task is None:
            raise RecurringTaskNotFoundError(recurring_task_id)
        return task

    async def update(self, task: RecurringTask) -> RecurringTask:
        await self._begin()
        if self.before_write is not None:
            await self.before_write(task)
        there = self._tasks.get(task.id)
        if there is None or there.version != task.version:
            raise RecurringTaskConflictError(task.id)
        return self._write(task)

    async def update_all(
        self, tasks: Sequence[RecurringTask]
    ) -> list[RecurringTask | TasquesError]:
        return [await self._outcome(task) for task in tasks]

    async def list_all(self) -> AsyncGenerator[Sequence[StoredRecurringTask], None]:
        await self._begin()
        tasks = [task for _, task in sorted(self._tasks.items())]
        for page in in_pages(tasks):
            yield page

    async def changed_since(
        self, mark: ChangeMark, is_known: Callable[[str, Version], bool]
    ) -> Changes:
        await self._begin()
        versions = {task.id: task.version or Version(-1, 0) for task in self._tasks.values()}
        found = [
            self._tasks[each]
            for each, version in versions.items()
            if version.seq_no > mark.certain and not is_known(each, version)
        ]
        last = max((version.seq_no for version in versions.values()), default=-1)
        return Changes(found, ChangeMark(seen=max(mark.seen, last), certain=mark.seen))

    async def purge(self, recurring_task_id: str, version: Version) -> None:
        await self._begin()
        there = self._tasks.get(recurring_task_id)
        if there is None:
            return
        if there.version != version:
            raise RecurringTaskConflictError(recurring_task_id)
        del self._tasks[recurring_task_id]

    def _write(self, task: RecurringTask) -> RecurringTask:
        stored = self.store(task)
        self.writes.append(stored)
        return stored

    def _next_version(self) -> Version:
        return Version(next(self._writes_so_far), 1)

    async def _outcome(self, task: RecurringTask) -> RecurringTask | TasquesError:
        try:
            return await self.update(task)
        except TasquesError as error:
            return error

    async def _begin(self) -> None:
        await asyncio.sleep(0)  # as over a network, others get their turn in between
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
