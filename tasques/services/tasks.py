"""What clients do with one task: create, get, report on, finish and give back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Final, Protocol

from tasques.domain.errors import InvalidStateError, NotOwnedByWorkerError, VersionConflictError
from tasques.domain.ports import Clock, Lane, TaskRepository
from tasques.domain.retry import next_attempt_at
from tasques.domain.task import JsonText, NewTask, Task, TaskState
from tasques.services.last_seen import LastSeen

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25


class ClaimableTasks(Protocol):
    """Whoever wants to know which tasks have become claimable here."""

    def offer(self, task: Task) -> None:
        """Take note of a task as it is stored now."""
        ...


class TaskService:
    """The use cases of single tasks.

    Every change is a read (usually from memory), a move of the domain, and a write conditional on
    what was read; again from the read when another writer was first.
    """

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        claimable: ClaimableTasks,
        last_seen: LastSeen,
        clock: Clock,
        random: Random,
        new_task_id: Callable[[], str],
        new_incarnation: Callable[[], str],
        conflict_retries: int,
    ) -> None:
        self._tasks = tasks
        self._claimable = claimable
        self._last_seen = last_seen
        self._clock = clock
        self._random = random
        self._new_incarnation = new_incarnation
        self._conflict_retries = conflict_retries
        self.new_task_id = new_task_id

    async def create(self, new: NewTask) -> Task:
        """Enqueue a task.

        Raises:
            TaskAlreadyExistsError: the id is taken in that queue.
            UnavailableError: it could not be stored, or nobody knows yet.
        """
        now = self._clock.now()
        task = Task.enqueue(new, at=now, incarnation=self._new_incarnation())
        stored = await self._tasks.create(task)
        if stored.is_due(now):
            self._claimable.offer(stored)
        return stored

    async def get(self, queue: str, task_id: str) -> Task:
        """The task as it is now.

        Raises:
            TaskNotFoundError: there is none.
        """
        return await self._tasks.get(queue, task_id)

    async def report(
        self, queue: str, task_id: str, *, worker_id: str, data: JsonText | None
    ) -> Task:
        """Note a sign of life of the worker that holds the task; its time-out starts anew.

        Raises:
            TaskNotFoundError, NotClaimedError, NotOwnedByWorkerError, ReportFromThePastError:
                as of a read made for it.
            VersionConflictError: others kept changing the task meanwhile.
        """

        def move(task: Task, at: datetime) -> Task:
            return task.report(worker_id=worker_id, at=at, data=data)

        return await self._change(queue, task_id, move)

    async def complete(
        self, queue: str, task_id: str, *, worker_id: str, success: JsonText | None
    ) -> Task:
        """Finish a task for good. Raises as `report`."""

        def move(task: Task, at: datetime) -> Task:
            return task.complete(worker_id=worker_id, at=at, success=success)

        return await self._change(queue, task_id, move)

    async def fail(
        self, queue: str, task_id: str, *, worker_id: str, failure: JsonText | None
    ) -> Task:
        """End an attempt; the task runs again later, or is dead. Raises as `report`."""

        def move(task: Task, at: datetime) -> Task:
            retry_at = next_attempt_at(at, task.retries, self._random)
            return task.fail(worker_id=worker_id, at=at, failure=failure, retry_at=retry_at)

        return await self._change(queue, task_id, move)

    async def unclaim(self, queue: str, task_id: str, *, worker_id: str) -> Task:
        """Give a task back unfinished; the attempt does not count. Raises as `report`.

        It is not offered to those who wait here: the worker that refused it would have it back
        in milliseconds.
        """

        def move(task: Task, at: datetime) -> Task:
            return task.unclaim(worker_id=worker_id, at=at)

        return await self._change(queue, task_id, move)

    async def _change(
        self, queue: str, task_id: str, move: Callable[[Task, datetime], Task]
    ) -> Task:
        """Judge what was last seen, write; read and judge again where that was out of date."""
        task = self._last_seen.find(queue, task_id)
        is_fresh = task is None
        if task is None:
            task = await self._tasks.get(queue, task_id)
        conflicts = 0
        while True:
            try:
                moved = move(task, self._clock.now())
            except (InvalidStateError, NotOwnedByWorkerError):
                if is_fresh:
                    raise
            else:
                try:
                    return self._note(await self._tasks.update(moved, Lane.ACKNOWLEDGE))
                except VersionConflictError:
                    if is_fresh:  # else memory was out of date, which is nobody's fault
                        conflicts += 1
                        if conflicts > self._conflict_retries:
                            raise
                        await self._pause(conflicts)
            self._last_seen.forget(queue, task_id)
            task = await self._tasks.get(queue, task_id)
            is_fresh = True

    def _note(self, task: Task) -> Task:
        if task.state is TaskState.CLAIMED:
            self._last_seen.remember(task)
        else:
            self._last_seen.forget(task.queue, task.id)
        return task

    async def _pause(self, conflicts: int) -> None:
        longest = min(_FIRST_PAUSE * (1 << min(conflicts, 10)), _LONGEST_PAUSE)
        await self._clock.sleep(self._random.uniform(0, longest))
