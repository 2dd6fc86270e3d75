"""What the use cases need from outside; each promise is in the docstring.

`tests/contract` runs one suite on every implementation, the fakes included.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from tasques.domain.errors import TasquesError
from tasques.domain.lease import Lease
from tasques.domain.task import Task, Version


class Clock(Protocol):
    """The time, and waiting for it to pass."""

    def now(self) -> datetime:
        """The wall-clock instant, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def boottime(self) -> float:
        """Seconds on a clock that never goes back, and runs on while the host sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when that many seconds have passed."""
        ...


class Lane(IntEnum):
    """Which writes go first when many wait: workers' answers, then claims, then new tasks."""

    ACKNOWLEDGE = 0
    CLAIM = 1
    CREATE = 2


@dataclass(frozen=True, slots=True)
class ClaimSearch:
    """A question for claimable tasks.

    Attributes:
        queues: names without duplicates; empty means every queue.
        due_at: only tasks that are due at this instant are found.
        size: at most this many are found.
        from_rank: only tasks of this rank or behind it are found; None: from the first.
    """

    queues: tuple[str, ...]
    due_at: datetime
    size: int
    from_rank: int | None = None


class Candidate(Protocol):
    """A task that a search found: it was claimable when the index was last refreshed."""

    @property
    def queue(self) -> str:
        """Its queue."""
        ...

    @property
    def task_id(self) -> str:
        """Its id."""
        ...

    @property
    def rank(self) -> int:
        """Its place in the claim order; smaller goes first."""
        ...

    @property
    def version(self) -> Version:
        """The version that was found; a claim is conditional on it."""
        ...

    @property
    def size(self) -> int:
        """About how many bytes its free-form parts have."""
        ...

    def task(self) -> Task:
        """The task as it was found.

        Raises:
            CorruptDocumentError: it can not be read.
        """
        ...


class TaskRepository(Protocol):
    """Where tasks are kept.

    Every method raises `UnavailableError` (one of its kinds) when it can not be done in time.
    """

    async def create(self, task: Task) -> Task:
        """Store a task that must not exist yet.

        Returns:
            The task with the version that the write produced.

        Raises:
            TaskAlreadyExistsError: another task of that id is in the queue; found out by a read
                made for it, so never because this very write was seen before.
            UnresolvedWriteError: it could not be found out whether the task was stored.
        """
        ...

    async def create_all(
        self, tasks: Sequence[Task], *, may_write: Callable[[], bool] | None = None
    ) -> Sequence[Task | TasquesError]:
        """Store tasks that must not exist yet, each for itself.

        Args:
            tasks: without versions.
            may_write: asked before each attempt to write.

        Returns:
            For each what `create` would return or raise, or `NotLeadingError` after a no.
        """
        ...

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task as of now, not as of the last refresh.

        Raises:
            TaskNotFoundError: there is none.
            CorruptDocumentError: what is stored is no task.
        """
        ...

    async def update(self, task: Task, lane: Lane) -> Task:
        """Store `task` if the stored one still has `task.version`.

        Returns:
            The task with the version that the write produced.

        Raises:
            VersionConflictError: another writer was first, or the task is gone; found out by a
                read made for it. Read it again and judge anew.
            UnresolvedWriteError: it could not be found out whether the task was stored.
        """
        ...

    async def update_all(
        self, tasks: Sequence[Task], lane: Lane, *, may_write: Callable[[], bool] | None = None
    ) -> Sequence[Task | TasquesError]:
        """Store tasks if the stored ones still have their versions, each for itself.

        Args:
            tasks: with the versions that they were found in.
            lane: how urgent it is.
            may_write: asked before each attempt to write.

        Returns:
            For each what `update` would return or raise, or `NotLeadingError` after a no.
        """
        ...

    async def search_claimable(
        self, searches: Sequence[ClaimSearch]
    ) -> Sequence[Sequence[Candidate]]:
        """Find claimable tasks for several questions at once.

        Sees what the last refresh saw: what is found may be gone, what is new may be missing.

        Returns:
            For each search what it found, in claim order.
        """
        ...

    def timed_out(self, at: datetime) -> AsyncGenerator[Sequence[Task], None]:
        """Find claimed tasks whose processing time was over at that instant, in pages.

        Sees what the last refresh before the first page saw. All are found: where a part of the
        store can not be searched, it is an error. Tasks that can not be read are logged and left
        out. Close the generator when it is not read to its end.
        """
        ...

    async def refresh(self) -> None:
        """Make every write that was answered before this call visible to searches."""
        ...


class FinishedTask(Protocol):
    """A task that is done or dead, as a search found it."""

    @property
    def queue(self) -> str:
        """Its queue."""
        ...

    @property
    def task_id(self) -> str:
        """Its id."""
        ...


class TaskArchive(Protocol):
    """Where finished tasks are moved to: stored here first, and only then removed there.

    A task never disappears in between and never is in the archive twice, whoever is killed when,
    and also when two move the same tasks. Methods that write ask `may_write` before each request,
    and raise `NotLeadingError` once it says no; every method raises `UnavailableError` when it
    can not be done now.
    """

    def finished(self, before: datetime) -> AsyncGenerator[Sequence[FinishedTask], None]:
        """Find tasks that are to be moved, in pages: those that were finished before an instant.

        The same holds as for `TaskRepository.timed_out`.
        """
        ...

    async def store(
        self, tasks: Sequence[FinishedTask], *, may_write: Callable[[], bool]
    ) -> Sequence[TasquesError | None]:
        """Have each task in the archive, once; tasks that are there already stay as they are.

        Returns:
            For each task None, if it certainly is in the archive and `get` finds it, or why it
            may not be: such a task must not be removed.
        """
        ...

    async def remove(
        self, tasks: Sequence[FinishedTask], *, may_write: Callable[[], bool]
    ) -> Sequence[TasquesError | None]:
        """Take tasks away from where they were found, unless they were changed since.

        Returns:
            For each task None, if it is gone, or why it may not be.
        """
        ...

    async def get(self, queue: str, task_id: str) -> Task:
        """Read an archived task; of several with that id, the newest.

        Raises:
            TaskNotFoundError: there is none.
            CorruptDocumentError: what is stored is no task.
        """
        ...

    async def roll_over(self) -> str | None:
        """Go on in a new index when it is time, if nobody else does that.

        Returns:
            The name of the new index, or None.

        Raises:
            StoreRejectedError: Elasticsearch does not take it; the message has its reason.
        """
        ...


class PresenceRepository(Protocol):
    """Where the processes that hand out tasks tell each other that they do."""

    async def beat(self, process_id: str) -> Mapping[str, Version]:
        """Give a sign of life, and look who else does.

        Returns:
            Every process that is known, this one included, with the version of its latest sign
            of life: it changes with each. It may lack one that began within the last second.

        Raises:
            UnavailableError: it could not be done in time.
        """
        ...

    async def remove(self, process_id: str, version: Version) -> None:
        """Forget a process, unless it has given another sign of life since that version.

        Raises:
            UnavailableError: it could not be done in time.
        """
        ...


class LeaderLock(Protocol):
    """Where the servers agree on who leads.

    Every method raises `UnavailableError` when it can not be done now, and `CorruptDocumentError`
    when what is stored is no lease.
    """

    async def read(self) -> Lease | None:
        """The lease as it is now; None if nobody ever led.

        It may be older than the latest write while a copy has fallen behind unnoticed; a write
        that rests on it will find out.
        """
        ...

    async def write(self, lease: Lease) -> Lease | None:
        """Store a lease if the stored one still has `lease.version`; without one, if there is none.

        Never trust a write before this has returned it: one that is not answered may take place
        at any later time, as long as the version is the same.

        Returns:
            What is stored now: `lease` with its version if this very write took place, otherwise
            what was there instead, which may be an earlier write of the same leader.
        """
        ...


class StoreClock(Protocol):
    """The clock of the store, which is the same for all servers."""

    async def now(self) -> datetime | None:
        """What it shows; None if this server may not know.

        Raises:
            UnavailableError: it could not be found out in time.
        """
        ...
