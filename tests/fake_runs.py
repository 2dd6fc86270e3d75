"""Runs of recurring tasks in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from fake_archive import InMemoryTaskArchive

from tasques.domain.recurring import PendingTask, RecurringTask
from tasques.domain.task import TaskState


@dataclass(slots=True)
class InMemoryRunRepository:
    """Looks into the fakes of tasks and archive. Implements `RunRepository`.

    Attributes:
        archive: and what it is moved from.
        failures: raised by the next calls, one each; None lets one pass.
        asked: the ids that `outstanding` was asked for, call by call.
    """

    archive: InMemoryTaskArchive = field(default_factory=InMemoryTaskArchive)
    failures: list[Exception | None] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    async def existing(self, pending: Sequence[PendingTask]) -> set[PendingTask]:
        await self._begin()
        stored = {(task.queue, task.id) for task in self.archive.tasks.stored}
        await asyncio.sleep(0)
        archived = {(queue, task_id) for queue, task_id, _ in self.archive.archived}
        return {each for each in pending if (each.queue, each.task_id) in stored | archived}

    async def outstanding(self, recurring_tasks: Sequence[RecurringTask]) -> set[str]:
        self.asked.append([task.id for task in recurring_tasks])
        await self._begin()
        finished = (TaskState.DONE, TaskState.DEAD)
        running = {
            task.recurring_task_id
            for task in self.archive.tasks.stored
            if task.state not in finished
        }
        return {task.id for task in recurring_tasks if task.id in running}

    async def _begin(self) -> None:
        await asyncio.sleep(0)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
