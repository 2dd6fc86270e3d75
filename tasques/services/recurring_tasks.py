"""What clients do with recurring tasks: make, see, change, delete, preview, run now."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final, Protocol, TypeVar

from tasques.domain.errors import (
    BrokenRecurringTaskError,
    CorruptDocumentError,
    RecurringTaskNotFoundError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    VersionConflictError,
)
from tasques.domain.ports import Clock
from tasques.domain.recurring import (
    BrokenRecurringTask,
    MisfirePolicy,
    NewRecurringTask,
    RecurringTask,
    StoredRecurringTask,
    TaskDefinition,
)
from tasques.domain.recurring_ports import RecurringTaskRepository
from tasques.domain.task import NewTask, Task

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25
_KEY_BYTES: Final = 16

Outcome = TypeVar("Outcome")
_Move = Callable[[RecurringTask, datetime], RecurringTask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a client changes of a recurring task; None leaves a part as it is."""

    schedule_expression: str | None = None
    time_zone: str | None = None
    skip_if_outstanding_tasks_exist: bool | None = None
    definition: TaskDefinition | None = None
    paused: bool | None = None
    misfire_policy: MisfirePolicy | None = None


class Tasks(Protocol):
    """Where tasks are enqueued and read. `TaskService` is one."""

    async def create(self, new: NewTask) -> Task:
        """Enqueue a task."""
        ...

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task, archived or not."""
        ...


class RecurringTaskService:
    """The use cases of recurring tasks."""

    def __init__(
        self,
        *,
        recurring_tasks: RecurringTaskRepository,
        tasks: Tasks,
        clock: Clock,
        random: Random,
        new_mark: Callable[[], str],
        conflict_retries: int,
        on_changed: Callable[[RecurringTask], None],
    ) -> None:
        """Make a service.

        Args:
            recurring_tasks: where they are kept.
            tasks: takes what is run now.
            clock: for instants and pauses.
            random: for pauses.
            new_mark: draws incarnations, and parts of ids.
            conflict_retries: how often a change that met another one is tried again.
            on_changed: is told of each recurring task that was made, changed or deleted here.
        """
        self._recurring_tasks = recurring_tasks
        self._tasks = tasks
        self._clock = clock
        self._random = random
        self._new_mark = new_mark
        self._conflict_retries = conflict_retries
        self._on_changed = on_changed

    async def create(self, new: NewRecurringTask) -> RecurringTask:
        """Make a recurring task; its schedule is followed from now on.

        Raises:
            RecurringTaskAlreadyExistsError: the id is taken.
            UnavailableError: it could not be stored, or nobody knows yet.
        """
        task = RecurringTask.start(new, at=self._clock.now(), incarnation=self._new_mark())
        return self._note(await self._recurring_tasks.create(task))

    async def get(self, recurring_task_id: str) -> StoredRecurringTask:
        """A recurring task as it is now.

        Raises:
            RecurringTaskNotFoundError: there is none, or it was deleted.
        """
        stored = await self._recurring_tasks.get(recurring_task_id)
        if _is_deleted(stored):
            raise RecurringTaskNotFoundError(recurring_task_id)
        return stored

    async def list_all(self) -> list[StoredRecurringTask]:
        """All recurring tasks that are not deleted, in the order of their ids."""
        return [
            stored
            async for page in self._recurring_tasks.list_all()
            for stored in page
            if not _is_deleted(stored)
        ]

    async def update(self, recurring_task_id: str, change: Change) -> RecurringTask:
        """Change a recurring task; a change of its schedule holds from now on.

        Raises:
            RecurringTaskNotFoundError: there is none, or it was deleted.
            BrokenRecurringTaskError: what is stored is broken, and stays so with this change.
            VersionConflictError: others kept changing it meanwhile.
        """

        def move(task: RecurringTask, at: datetime) -> RecurringTask:
            changed = task.update(
                at=at,
                schedule_expression=change.schedule_expression,
                time_zone=change.time_zone,
                skip_if_outstanding_tasks_exist=change.skip_if_outstanding_tasks_exist,
                definition=change.definition,
                paused=change.paused,
                misfire_policy=change.misfire_policy,
            )
            _require_schedule(changed)
            return changed

        return await self._retrying(lambda: self._move(recurring_task_id, move))

    async def delete(self, recurring_task_id: str) -> StoredRecurringTask:
        """Delete a recurring task, also a broken one; what it has enqueued stays.

        Returns:
            What was deleted.

        Raises:
            RecurringTaskNotFoundError: there is none, or it was deleted.
            VersionConflictError: others kept changing it meanwhile.
        """
        return await self._retrying(lambda: self._delete(recurring_task_id))

    async def upcoming(self, recurring_task_id: str, count: int) -> list[datetime]:
        """The next instants of its schedule; none while it is paused.

        Raises:
            RecurringTaskNotFoundError: there is none, or it was deleted.
            BrokenRecurringTaskError: its schedule makes no sense.
        """
        task = _usable(await self.get(recurring_task_id))
        return task.upcoming(self._clock.now(), count)

    async def run(
        self,
        recurring_task_id: str,
        idempotency_key: bytes | None,
        *,
        traceparent: str | None = None,
    ) -> Task:
        """Enqueue a task of it at once, whatever its schedule is, and even while it is paused.

        Args:
            recurring_task_id: which.
            idempotency_key: where a client may repeat itself: the task of an earlier run with
                the same key is the answer then, while the definition names the same queue and
                the task is kept.
            traceparent: the place in a trace that the task belongs to.

        Raises:
            RecurringTaskNotFoundError: there is none, or it was deleted.
            BrokenRecurringTaskError: its definition can not be read.
            UnavailableError: the task could not be stored, or nobody knows yet.
        """
        recurring = _usable(await self.get(recurring_task_id))
        queue = recurring.definition.queue
        task_id = f"{recurring_task_id}@run-{self._part_of_id(recurring, idempotency_key)}"
        if idempotency_key is not None:
            try:  # it may have been archived, where creating meets no conflict
                return await self._tasks.get(queue, task_id)
            except TaskNotFoundError:
                pass
        try:
            new = self._new_task(recurring, task_id)
            return await self._tasks.create(new._replace(traceparent=traceparent))
        except TaskAlreadyExistsError:
            return await self._tasks.get(queue, task_id)

    # ---------------------------------------------------------------- changing

    async def _move(self, recurring_task_id: str, move: _Move) -> RecurringTask:
        stored = await self.get(recurring_task_id)
        moved = move(_readable(stored), self._clock.now())
        return self._note(await self._recurring_tasks.update(moved))

    async def _delete(self, recurring_task_id: str) -> StoredRecurringTask:
        stored = await self.get(recurring_task_id)
        if isinstance(stored, BrokenRecurringTask) and stored.task is None:
            await self._recurring_tasks.purge(recurring_task_id, stored.version)
            return stored
        deleted = _readable(stored).delete(at=self._clock.now())
        return self._note(await self._recurring_tasks.update(deleted))

    async def _retrying(self, change: Callable[[], Awaitable[Outcome]]) -> Outcome:
        conflicts = 0
        while True:
            try:
                return await change()
            except VersionConflictError:
                conflicts += 1
                if conflicts > self._conflict_retries:
                    raise
            longest = min(_FIRST_PAUSE * (1 << min(conflicts, 10)), _LONGEST_PAUSE)
            await self._clock.sleep(self._random.uniform(0, longest))

    def _note(self, task: RecurringTask) -> RecurringTask:
        self._on_changed(task)
        return task

    # ---------------------------------------------------------------- running

    def _part_of_id(self, recurring: RecurringTask, idempotency_key: bytes | None) -> str:
        if idempotency_key is None:
            return self._new_mark()
        # Of the one that is there now: a later one of the same id knows nothing of it.
        seed = recurring.incarnation.encode() + b"\n" + idempotency_key
        digest = hashlib.sha256(seed).digest()[:_KEY_BYTES]
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _new_task(self, recurring: RecurringTask, task_id: str) -> NewTask:
        definition = recurring.definition
        return NewTask(
            id=task_id,
            queue=definition.queue,
            kind=definition.kind,
            priority=definition.priority,
            retry_times=definition.retry_times,
            processing_timeout=definition.processing_timeout,
            run_at=self._clock.now(),
            args=definition.args,
            context=definition.context,
            recurring_task_id=recurring.id,
        )


def _is_deleted(stored: StoredRecurringTask) -> bool:
    return isinstance(stored, RecurringTask) and stored.is_deleted


def _usable(stored: StoredRecurringTask) -> RecurringTask:
    if isinstance(stored, RecurringTask):
        return stored
    remedy = "change its schedule or delete it" if stored.task else "delete it"
    raise BrokenRecurringTaskError(stored.id, stored.reason, remedy)


def _readable(stored: StoredRecurringTask) -> RecurringTask:
    """What can at least be changed."""
    if isinstance(stored, BrokenRecurringTask) and stored.task is not None:
        return stored.task
    return _usable(stored)


def _require_schedule(task: RecurringTask) -> None:
    try:
        task.schedule  # noqa: B018 - reading it is the check
    except CorruptDocumentError as error:
        raise BrokenRecurringTaskError(
            task.id, error.reason, "send a schedule_expression that is good"
        ) from error
