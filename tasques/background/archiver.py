"""Moves finished tasks to the archive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from tasques.background.chore import UNOBSERVED, ChoreObserver
from tasques.domain.errors import NotLeadingError, TasquesError, UnavailableError
from tasques.domain.ports import Clock, FinishedTask, TaskArchive

log = logging.getLogger(__name__)

_NAME: Final = "archiver"
_MAX_IN_VAIN: Final = 3  # pages in a row; then the archive is not asked again in this pass
_MAX_EXAMPLES: Final = 5


class Archiver:
    """Moves tasks some time after they were finished. Implements `Chore`.

    Whatever happens between the steps, and whoever goes on, a task is found in one place or the
    other, and ends in the archive once.
    """

    def __init__(
        self,
        *,
        archive: TaskArchive,
        clock: Clock,
        older_than: timedelta,
        is_leader: Callable[[], bool],
        interval: float,
        observer: ChoreObserver = UNOBSERVED,
    ) -> None:
        """Make a chore.

        Args:
            archive: where tasks go.
            clock: tells how long they have been finished.
            older_than: how long they stay where they are.
            is_leader: whether this server leads.
            interval: seconds from one pass to the next.
            observer: told how many tasks can not be archived.
        """
        self.name = _NAME
        self.interval = interval
        self._archive = archive
        self._clock = clock
        self._older_than = older_than
        self._is_leader = is_leader
        self._observer = observer

    async def run_once(self) -> int:
        """Move what has been finished for long enough; return how many tasks. See `Chore`."""
        left = _Left()
        try:
            return await self._run(left)
        finally:
            left.log()
            if left.count:
                self._observer.left(self.name, left.count)

    async def _run(self, left: _Left) -> int:
        archived = in_vain = 0
        pages = self._archive.finished(self._clock.now() - self._older_than)
        async with aclosing(pages):
            async for page in pages:
                if in_vain == _MAX_IN_VAIN or not self._is_leader():
                    break
                try:
                    moved, is_in_vain = await self._move(page, left)
                except NotLeadingError:
                    break
                archived += moved
                in_vain = in_vain + 1 if is_in_vain else 0
        return archived

    async def _move(self, page: Sequence[FinishedTask], left: _Left) -> tuple[int, bool]:
        """Return how many tasks were moved, and whether the archive takes nothing now."""
        stored = await self._archive.store(page, may_write=self._is_leader)
        confirmed = [task for task, error in zip(page, stored, strict=True) if error is None]
        left.note(page, stored)
        if not confirmed:
            return 0, any(isinstance(error, UnavailableError) for error in stored)
        removed = await self._archive.remove(confirmed, may_write=self._is_leader)
        left.note(confirmed, removed)
        return sum(error is None for error in removed), False


@dataclass(slots=True)
class _Left:
    """Tasks that stay where they are, by the kind of error."""

    _tasks: dict[str, int] = field(default_factory=dict)
    _examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(self._tasks.values())

    def note(self, tasks: Sequence[FinishedTask], errors: Sequence[TasquesError | None]) -> None:
        for task, error in zip(tasks, errors, strict=True):
            if error is None:
                continue
            self._tasks[error.code] = self._tasks.get(error.code, 0) + 1
            examples = self._examples.setdefault(error.code, [])
            if len(examples) < _MAX_EXAMPLES:
                examples.append(f"{task.queue}:{task.task_id}: {error}")

    def log(self) -> None:
        for code, count in self._tasks.items():
            log.warning(
                "finished tasks can not be archived and stay where they are",
                extra={"code": code, "tasks": count, "examples": self._examples[code]},
            )
