"""Stand-ins for what is outside: simple, exact, and checked by `tests/contract`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from typing import Final, TypeVar

from factories import START

from tasques.domain.claim_rank import claim_rank
from tasques.domain.errors import (
    CorruptDocumentError,
    NotLeadingError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    TasquesError,
    VersionConflictError,
)
from tasques.domain.ports import ClaimSearch, Lane
from tasques.domain.task import Task, TaskState, Version

_TURNS: Final = 50

PAGE: Final = 3
"""Tasks in a page of the fakes."""

Answer = TypeVar("Answer")
Item = TypeVar("Item")


async def settle() -> None:
    """Let everything run that can run without time passing.

    For code that awaits only the clock and fakes: a socket answers in its own time.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class FakeClock:
    """A clock that stands still until it is told to go on. Implements `Clock`."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def sleepers(self) -> int:
        """How many wait for time to pass."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def boottime(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self._elapsed + seconds, next(self._order), wake))
        await wake

    def until_next(self) -> float:
        """Seconds until somebody wakes."""
        waiting = [at for at, _, wake in self._sleepers if not wake.done()]
        return min(waiting) - self._elapsed

    async def advance(self, seconds: float) -> None:
        """Let time pass: everyone wakes at their own time, and has done before the next does."""
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, wake = heappop(self._sleepers)
            if not wake.done():  # else the sleeper was cancelled
                self._elapsed = at
                wake.set_result(None)
                await settle()
        self._elapsed = end
        await settle()


@dataclass(slots=True)
class RecordingObserver:
    """Remembers what it is told. Implements `ChoreObserver`.

    Attributes:
        passes: what `passed` was called with.
        lefts: how many things could not be done, by chore.
    """

    passes: list[tuple[str, str, int, float]] = field(default_factory=list)
    lefts: Counter[str] = field(default_factory=Counter)

    def passed(self, chore: str, outcome: str, done: int, seconds: float) -> None:
        self.passes.append((chore, outcome, done, seconds))

    def left(self, chore: str, count: int) -> None:
        self.lefts[chore] += count


class Operation(StrEnum):
    """The methods of a repository of tasks."""

    CREATE = "create"
    GET = "get"
    UPDATE = "update"
    SEARCH = "search_claimable"
    TIMED_OUT = "timed_out"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class FoundTask:
    """What a search of the fake found. Implements `Candidate`."""

    queue: str
    task_id: str
    rank: int
    version: Version
    _task: Task | None

    @property
    def size(self) -> int:
        if self._task is None:
            return 0
        return len(self._task.args or "") + len(self._task.context or "")

    def task(self) -> Task:
        if self._task is None:
            raise CorruptDocumentError(f"{self.queue}:{self.task_id}", "broken by a test")
        return self._task


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    of: Operation | None
    landed: bool


@dataclass(slots=True)
class InMemoryTaskRepository:
    """Tasks in a dictionary. Implements `TaskRepository`.

    Attributes:
        before_create: awaited before each create is judged; it may `store` and `remove`.
        before_update: the same for updates.
        before_search: awaited before each search looks.
        calls: how often each operation was begun.
        writes: what was updated, and in which lane, in order.
        searches: every question that was asked, in order.
    """

    before_create: Callable[[Task], Awaitable[None]] | None = None
    before_update: Callable[[Task], Awaitable[None]] | None = None
    before_search: Callable[[], Awaitable[None]] | None = None
    calls: Counter[Operation] = field(default_factory=Counter)
    writes: list[tuple[Task, Lane]] = field(default_factory=list)
    searches: list[ClaimSearch] = field(default_factory=list)
    _tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    _searchable: dict[tuple[str, str], Task] = field(default_factory=dict)
    _broken: set[tuple[str, str]] = field(default_factory=set)
    _failures: list[_Failure] = field(default_factory=list)
    _writes_so_far: count[int] = field(default_factory=count)

    # ------------------------------------------------------------------ what tests may do

    def fail_next(
        self, error: Exception, *, of: Operation | None = None, landed: bool = False
    ) -> None:
        """Make the next operation (of that kind) fail; one that `landed` takes effect first."""
        self._failures.append(_Failure(error, of, landed))

    def store(self, task: Task) -> Task:
        """Write whatever is there, as another server might have."""
        stored = task._replace(version=Version(next(self._writes_so_far), 1))
        self._tasks[task.queue, task.id] = stored
        return stored

    def remove(self, queue: str, task_id: str) -> None:
        """Take a task away, as archiving does."""
        del self._tasks[queue, task_id]

    def break_document(self, queue: str, task_id: str) -> None:
        """Make a stored task unreadable."""
        self._broken.add((queue, task_id))

    @property
    def stored(self) -> list[Task]:
        """Every task as it is now, in the order of creation."""
        return list(self._tasks.values())

    @property
    def searchable(self) -> list[Task]:
        """Every task as it was at the last refresh."""
        return list(self._searchable.values())

    # ------------------------------------------------------------------ the port

    async def create(self, task: Task) -> Task:
        failure = await self._begin(Operation.CREATE)
        if self.before_create is not None:
            await self.before_create(task)
        there = self._tasks.get((task.queue, task.id))
        if there is not None and there.incarnation != task.incarnation:
            raise TaskAlreadyExistsError(task.queue, task.id)
        return _unless(failure, there or self.store(task))

    async def create_all(
        self, tasks: Sequence[Task], *, may_write: Callable[[], bool] | None = None
    ) -> list[Task | TasquesError]:
        return [
            NotLeadingError()
            if may_write is not None and not may_write()
            else await _outcome(self.create(task))
            for task in tasks
        ]

    async def update_all(
        self,
        tasks: Sequence[Task],
        lane: Lane,
        *,
        may_write: Callable[[], bool] | None = None,
    ) -> list[Task | TasquesError]:
        return [
            NotLeadingError()
            if may_write is not None and not may_write()
            else await _outcome(self.update(task, lane))
            for task in tasks
        ]

    async def get(self, queue: str, task_id: str) -> Task:
        failure = await self._begin(Operation.GET)
        task = self._tasks.get((queue, task_id))
        if task is None:
            raise TaskNotFoundError(queue, task_id)
        if (queue, task_id) in self._broken:
            raise CorruptDocumentError(f"{queue}:{task_id}", "broken by a test")
        return _unless(failure, task)

    async def update(self, task: Task, lane: Lane) -> Task:
        failure = await self._begin(Operation.UPDATE)
        if self.before_update is not None:
            await self.before_update(task)
        there = self._tasks.get((task.queue, task.id))
        if there is None or there.version != task.version:
            raise VersionConflictError(task.queue, task.id)
        stored = self.store(task)
        self.writes.append((stored, lane))
        return _unless(failure, stored)

    async def search_claimable(
        self, searches: Sequence[ClaimSearch]
    ) -> Sequence[Sequence[FoundTask]]:
        failure = await self._begin(Operation.SEARCH)
        if self.before_search is not None:
            await self.before_search()
        self.searches.extend(searches)
        return _unless(failure, [self._find(search) for search in searches])

    async def timed_out(self, at: datetime) -> AsyncGenerator[list[Task], None]:
        failure = await self._begin(Operation.TIMED_OUT)
        _unless(failure, None)
        found = sorted(
            (claim.times_out_at, task.id, task)
            for task in self.searchable
            if task.state is TaskState.CLAIMED
            and (claim := task.last_claimed) is not None
            and claim.times_out_at <= at
        )
        for page in in_pages([task for _, _, task in found]):
            yield [task for task in page if (task.queue, task.id) not in self._broken]

    async def refresh(self) -> None:
        failure = await self._begin(Operation.REFRESH)
        self._searchable = dict(self._tasks)
        _unless(failure, None)

    async def _begin(self, operation: Operation) -> _Failure | None:
        self.calls[operation] += 1
        await asyncio.sleep(0)  # as over a network, others get their turn in between
        for failure in self._failures:
            if failure.of in (None, operation):
                self._failures.remove(failure)
                if not failure.landed:
                    raise failure.error
                return failure
        return None

    def _find(self, search: ClaimSearch) -> list[FoundTask]:
        found = [
            self._found(task)
            for task in self._searchable.values()
            if task.is_due(search.due_at) and (not search.queues or task.queue in search.queues)
        ]
        if search.from_rank is not None:
            found = [candidate for candidate in found if candidate.rank >= search.from_rank]
        return sorted(found, key=lambda candidate: candidate.rank)[: search.size]

    def _found(self, task: Task) -> FoundTask:
        assert task.version is not None
        return FoundTask(
            queue=task.queue,
            task_id=task.id,
            rank=claim_rank(task.priority, task.run_at),
            version=task.version,
            _task=None if (task.queue, task.id) in self._broken else task,
        )


def in_pages(tasks: Sequence[Item]) -> list[Sequence[Item]]:
    """Small ones, so that there are several; the last one may be empty."""
    return [tasks[start : start + PAGE] for start in range(0, len(tasks) + 1, PAGE)]


def _unless(failure: _Failure | None, answer: Answer) -> Answer:
    if failure is not None:
        raise failure.error
    return answer


async def _outcome(doing: Awaitable[Task]) -> Task | TasquesError:
    try:
        return await doing
    except TasquesError as error:
        return error
