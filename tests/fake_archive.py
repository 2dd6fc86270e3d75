"""An archive of tasks in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fakes import InMemoryTaskRepository, in_pages

from tasques.domain.errors import (
    NotLeadingError,
    TaskNotFoundError,
    TasquesError,
    VersionConflictError,
)
from tasques.domain.task import Task, TaskState


@dataclass(frozen=True, slots=True)
class FoundFinished:
    """What a search found. Implements `FinishedTask`."""

    task: Task

    @property
    def queue(self) -> str:
        return self.task.queue

    @property
    def task_id(self) -> str:
        return self.task.id


@dataclass(slots=True)
class InMemoryTaskArchive:
    """Archived tasks in a dictionary. Implements `TaskArchive`.

    Attributes:
        tasks: what they are moved from.
        refused: why tasks are not taken, by their ids; `*` stands for every one.
        between: awaited after tasks were stored.
        archived: every archived task, by queue, id and incarnation.
        stores: how many tasks each call of `store` had.
        due_indices: what the next roll-overs are called.
    """

    tasks: InMemoryTaskRepository = field(default_factory=InMemoryTaskRepository)
    refused: dict[str, TasquesError] = field(default_factory=dict)
    between: Callable[[], Awaitable[None]] | None = None
    archived: dict[tuple[str, str, str], Task] = field(default_factory=dict)
    stores: list[int] = field(default_factory=list)
    due_indices: list[str] = field(default_factory=list)

    async def finished(self, before: datetime) -> AsyncGenerator[list[FoundFinished], None]:
        await asyncio.sleep(0)
        found = [
            (task.last_claimed.result.at, task.id, task)
            for task in self.tasks.searchable
            if task.state in (TaskState.DONE, TaskState.DEAD)
            and task.last_claimed
            and task.last_claimed.result
            and task.last_claimed.result.at <= before
        ]
        for page in in_pages([FoundFinished(task) for _, _, task in sorted(found)]):
            yield list(page)

    async def store(
        self, tasks: Sequence[FoundFinished], *, may_write: Callable[[], bool]
    ) -> list[TasquesError | None]:
        await self._begin(may_write)
        self.stores.append(len(tasks))
        outcomes: list[TasquesError | None] = []
        for found in tasks:
            task = found.task
            error = self.refused.get(task.id) or self.refused.get("*")
            outcomes.append(error)
            if error is None:
                key = (task.queue, task.id, task.incarnation)
                self.archived.setdefault(key, task._replace(archived=True))
        if self.between is not None:
            await self.between()
        return outcomes

    async def remove(
        self, tasks: Sequence[FoundFinished], *, may_write: Callable[[], bool]
    ) -> list[TasquesError | None]:
        await self._begin(may_write)
        return [self._remove(found.task) for found in tasks]

    def _remove(self, found: Task) -> TasquesError | None:
        there = {(task.queue, task.id): task for task in self.tasks.stored}
        task = there.get((found.queue, found.id))
        if task is None or task.version != found.version:
            return VersionConflictError(found.queue, found.id)
        self.tasks.remove(found.queue, found.id)
        return None

    async def get(self, queue: str, task_id: str) -> Task:
        await asyncio.sleep(0)
        found = [
            task
            for (of, called, _), task in self.archived.items()
            if (of, called) == (queue, task_id)
        ]
        if not found:
            raise TaskNotFoundError(queue, task_id)
        return max(found, key=lambda task: task.created_at)

    async def roll_over(self) -> str | None:
        await asyncio.sleep(0)
        return self.due_indices.pop(0) if self.due_indices else None

    async def _begin(self, may_write: Callable[[], bool]) -> None:
        await asyncio.sleep(0)
        if not may_write():
            raise NotLeadingError
