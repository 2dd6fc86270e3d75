"""What the use cases need from outside for recurring tasks; see `ports` for all else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from tasques.domain.errors import TasquesError
from tasques.domain.recurring import PendingTask, RecurringTask, StoredRecurringTask
from tasques.domain.task import Version


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """How far the changes of recurring tasks were read; only a repository looks into it."""

    seen: int = -1
    certain: int = -1


@dataclass(frozen=True, slots=True)
class Changes:
    """Recurring tasks as they are now that they have changed, and from where to read on."""

    tasks: Sequence[StoredRecurringTask]
    mark: ChangeMark


class RecurringTaskRepository(Protocol):
    """Where recurring tasks are kept, the deleted ones until they are purged.

    Every method raises `UnavailableError` (one of its kinds) when it can not be done in time.
    """

    async def create(self, task: RecurringTask) -> RecurringTask:
        """Store a recurring task whose id must be free; that of a deleted one is.

        Returns:
            What was stored, with its version: `task.replacing(deleted)` in place of a deleted one.

        Raises:
            RecurringTaskAlreadyExistsError: the id is taken, found out by a read made for it.
            UnresolvedRecurringWriteError: it could not be found out whether it was stored.
        """
        ...

    async def get(self, recurring_task_id: str) -> StoredRecurringTask:
        """Read a recurring task as of now, a deleted one too.

        Raises:
            RecurringTaskNotFoundError: there is none.
        """
        ...

    async def update(self, task: RecurringTask) -> RecurringTask:
        """Store `task` if the stored one still has `task.version`.

        Returns:
            The recurring task with the version that the write produced.

        Raises:
            RecurringTaskConflictError: it has another one, or is gone; found out by a read.
            UnresolvedRecurringWriteError: it could not be found out whether it was stored.
        """
        ...

    async def update_all(
        self, tasks: Sequence[RecurringTask]
    ) -> Sequence[RecurringTask | TasquesError]:
        """Store recurring tasks as `update` does, each for itself, in few requests.

        Returns:
            For each what `update` would return or raise.
        """
        ...

    def list_all(self) -> AsyncGenerator[Sequence[StoredRecurringTask], None]:
        """Find all, in the order of their ids, as of one instant after the call; page by page."""
        ...

    async def changed_since(
        self, mark: ChangeMark, is_known: Callable[[str, Version], bool]
    ) -> Changes:
        """Read what others have written since the mark; everything, from a new `ChangeMark()`.

        Reads again, as of now, every recurring task that was written since, but for those of
        which the caller knows the version. Purged ones are not mentioned. A change is seen at
        the latest by the second call after it was answered.

        Args:
            mark: that of the call before.
            is_known: whether the caller has that version of the recurring task of that id.
        """
        ...

    async def purge(self, recurring_task_id: str, version: Version) -> None:
        """Remove a recurring task for good if the stored one has that version, or is gone.

        Raises:
            RecurringTaskConflictError: it has another one.
        """
        ...


class RunRepository(Protocol):
    """What has become of the runs of recurring tasks.

    Every method raises `UnavailableError` when it can not be found out now, in full.
    """

    async def existing(self, pending: Sequence[PendingTask]) -> AbstractSet[PendingTask]:
        """Which of these tasks have been created: they are stored now, or archived.

        A task that is archived meanwhile is found in one place or the other.
        """
        ...

    async def outstanding(self, recurring_tasks: Sequence[RecurringTask]) -> AbstractSet[str]:
        """Which of these have a run, in any queue, that is neither done nor dead; their ids.

        Every run is seen whose creation was answered before the call.
        """
        ...
