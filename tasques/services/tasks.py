"""What clients do with one task: create, get, report on, finish and give back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final, Protocol

from tasques.domain.errors import (
    InvalidStateError,
    NotOwnedByWorkerError,
    TaskNotFoundError,
    TasquesError,
    VersionConflictError,
)
from tasques.domain.ports import Clock, Lane, TaskRepository
from tasques.domain.retry import next_attempt_at
from tasques.domain.task import JsonText, NewTask, Task, TaskState
from tasques.services.last_seen import LastSeen

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How a worker ended an attempt at a task; `data` says more."""

    queue: str
    task_id: str
    is_success: bool
    data: JsonText | None


class ClaimableTasks(Protocol):
    """Whoever wants to know which tasks have become claimable here."""

    async def create(self, task: Task) -> Task:
        """Store a new task, and let whoever waits for it have it. See `TaskRepository`."""
        ...

    def offer(self, tasks: Sequence[Task]) -> None:
        """Take note of tasks as they are stored now; nothing of those that are not due."""
        ...


class ArchivedTasks(Protocol):
    """Where finished tasks are read that have been moved."""

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task. See `TaskArchive`."""
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
        archive: ArchivedTasks,
        claimable: ClaimableTasks,
        last_seen: LastSeen,
        clock: Clock,
        random: Random,
        new_task_id: Callable[[], str],
        new_incarnation: Callable[[], str],
        conflict_retries: int,
    ) -> None:
        self._tasks = tasks
        self._archive = archive
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
        task = Task.enqueue(new, at=self._clock.now(), incarnation=self._new_incarnation())
        return await self._claimable.create(task)

    async def create_all(self, new: Sequence[NewTask]) -> list[Task | TasquesError]:
        """Enqueue several tasks, each for itself; for each what `create` returns or raises."""
        now = self._clock.now()
        tasks = [Task.enqueue(each, at=now, incarnation=self._new_incarnation()) for each in new]
        outcomes = list(await self._tasks.create_all(tasks))
        self._claimable.offer([outcome for outcome in outcomes if isinstance(outcome, Task)])
        return outcomes

    async def get(self, queue: str, task_id: str) -> Task:
        """The task as it is now; of an id that was used again, the newest.

        Raises:
            TaskNotFoundError: there is none, in the archive neither.
        """
        try:
            return await self._tasks.get(queue, task_id)
        except TaskNotFoundError:
            pass
        try:
            return await self._archive.get(queue, task_id)
        except TaskNotFoundError:
            # The id may have been taken, its task finished and another one made, since we looked.
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
        finish = Finish(queue=queue, task_id=task_id, is_success=True, data=success)
        return await self._change(queue, task_id, self._finishing(worker_id, finish))

    async def fail(
        self, queue: str, task_id: str, *, worker_id: str, failure: JsonText | None
    ) -> Task:
        """End an attempt; the task runs again later, or is dead. Raises as `report`."""
        finish = Finish(queue=queue, task_id=task_id, is_success=False, data=failure)
        return await self._change(queue, task_id, self._finishing(worker_id, finish))

    async def finish_all(
        self, finishes: Sequence[Finish], *, worker_id: str
    ) -> list[Task | TasquesError]:
        """End several attempts, each for itself; for each what `complete` or `fail` would.

        Where this process remembers the task, all are written together; the others, and those
        whose memory was out of date, go their usual way.
        """
        outcomes: list[Task | TasquesError | None] = [None] * len(finishes)
        moved: dict[int, Task] = {}
        now = self._clock.now()
        for number, finish in enumerate(finishes):
            task = self._last_seen.find(finish.queue, finish.task_id)
            if task is not None:
                with suppress(InvalidStateError, NotOwnedByWorkerError):
                    moved[number] = self._finishing(worker_id, finish)(task, now)
        written = await self._tasks.update_all(list(moved.values()), Lane.ACKNOWLEDGE)
        for number, outcome in zip(moved, written, strict=True):
            self._last_seen.forget(finishes[number].queue, finishes[number].task_id)
            if not isinstance(outcome, VersionConflictError):
                outcomes[number] = outcome
        left = [number for number, outcome in enumerate(outcomes) if outcome is None]
        late = await asyncio.gather(*(self._finish(finishes[n], worker_id) for n in left))
        for number, outcome in zip(left, late, strict=True):
            outcomes[number] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    async def _finish(self, finish: Finish, worker_id: str) -> Task | TasquesError:
        try:
            return await self._change(
                finish.queue, finish.task_id, self._finishing(worker_id, finish)
            )
        except TasquesError as error:
            return error

    def _finishing(self, worker_id: str, finish: Finish) -> Callable[[Task, datetime], Task]:
        def move(task: Task, at: datetime) -> Task:
            if finish.is_success:
                return task.complete(worker_id=worker_id, at=at, success=finish.data)
            retry_at = next_attempt_at(at, task.retries, self._random)
            return task.fail(worker_id=worker_id, at=at, failure=finish.data, retry_at=retry_at)

        return move

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
