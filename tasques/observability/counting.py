"""A repository that says what was stored, so that it can be counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from tasques.domain.errors import TasquesError
from tasques.domain.ports import Candidate, ClaimSearch, Lane, TaskRepository
from tasques.domain.task import Task

OnStored = Callable[[Task], None]


def _nothing(_: Task) -> None:
    pass


class CountingTaskRepository:
    """Tells of each task that was certainly stored. Implements `TaskRepository`.

    A write of which nobody knows whether it took place is not told of.
    """

    def __init__(
        self,
        inner: TaskRepository,
        *,
        on_created: OnStored = _nothing,
        on_updated: OnStored = _nothing,
    ) -> None:
        self._inner = inner
        self._on_created = on_created
        self._on_updated = on_updated

    async def create(self, task: Task) -> Task:
        """Store a new task. See the port."""
        stored = await self._inner.create(task)
        self._on_created(stored)
        return stored

    async def create_all(
        self, tasks: Sequence[Task], *, may_write: Callable[[], bool] | None = None
    ) -> Sequence[Task | TasquesError]:
        """Store new tasks. See the port."""
        outcomes = await self._inner.create_all(tasks, may_write=may_write)
        return _told(outcomes, self._on_created)

    async def update(self, task: Task, lane: Lane) -> Task:
        """Store a changed task. See the port."""
        stored = await self._inner.update(task, lane)
        self._on_updated(stored)
        return stored

    async def update_all(
        self, tasks: Sequence[Task], lane: Lane, *, may_write: Callable[[], bool] | None = None
    ) -> Sequence[Task | TasquesError]:
        """Store changed tasks. See the port."""
        outcomes = await self._inner.update_all(tasks, lane, may_write=may_write)
        return _told(outcomes, self._on_updated)

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task. See the port."""
        return await self._inner.get(queue, task_id)

    async def search_claimable(
        self, searches: Sequence[ClaimSearch]
    ) -> Sequence[Sequence[Candidate]]:
        """Find claimable tasks. See the port."""
        return await self._inner.search_claimable(searches)

    def timed_out(self, at: datetime) -> AsyncGenerator[Sequence[Task], None]:
        """Find tasks whose time is over. See the port."""
        return self._inner.timed_out(at)

    async def refresh(self) -> None:
        """Make what was written visible. See the port."""
        await self._inner.refresh()


def _told(outcomes: Sequence[Task | TasquesError], tell: OnStored) -> Sequence[Task | TasquesError]:
    for outcome in outcomes:
        if isinstance(outcome, Task):
            tell(outcome)
    return outcomes
