"""Ends the claims of workers that neither finish nor report in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import Final

from tasques.background.chore import UNOBSERVED, ChoreObserver
from tasques.domain.errors import (
    NotLeadingError,
    TasquesError,
    UnavailableError,
    VersionConflictError,
)
from tasques.domain.ports import Clock, Lane, TaskRepository
from tasques.domain.retry import next_attempt_at
from tasques.domain.task import Task

log = logging.getLogger(__name__)

_NAME: Final = "reaper"
_BREAK_OFF: Final = (NotLeadingError, UnavailableError)


class Reaper:
    """Fails claimed tasks whose processing time is over. Implements `Chore`.

    Each write is conditional on what was found, so a report, or anything else that a worker sent
    and that arrives first, wins. A task that will run again is found by a search when its pause is
    over: it is too long for the task to be offered to those who wait here now.
    """

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        clock: Clock,
        random: Random,
        is_leader: Callable[[], bool],
        interval: float,
        observer: ChoreObserver = UNOBSERVED,
    ) -> None:
        """Make a chore.

        Args:
            tasks: where they are.
            clock: for the instant at which a claim ends.
            random: for the jitter of the next attempt.
            is_leader: whether this server leads.
            interval: seconds from one pass to the next.
            observer: told how many tasks could not be failed.
        """
        self.name = _NAME
        self.interval = interval
        self._tasks = tasks
        self._clock = clock
        self._random = random
        self._is_leader = is_leader
        self._observer = observer

    async def run_once(self) -> int:
        """Fail what is over now; return how many tasks were. See `Chore`."""
        reaped = 0
        pages = self._tasks.timed_out(self._clock.now())
        async with aclosing(pages):
            async for page in pages:
                if not self._is_leader():
                    break
                outcomes = await self._time_out(page)
                reaped += sum(isinstance(outcome, Task) for outcome in outcomes)
                if any(isinstance(outcome, _BREAK_OFF) for outcome in outcomes):
                    break  # the next pass finds them again
        return reaped

    async def _time_out(self, page: Sequence[Task]) -> Sequence[Task | TasquesError]:
        at = self._clock.now()  # a pass may be long, and the instant is that of the page
        failed = [
            task.time_out(at=at, retry_at=next_attempt_at(at, task.retries, self._random))
            for task in page
        ]
        outcomes = await self._tasks.update_all(failed, Lane.CLAIM, may_write=self._is_leader)
        self._tell_what_is_left(outcomes)
        return outcomes

    def _tell_what_is_left(self, outcomes: Sequence[Task | TasquesError]) -> None:
        errors = [outcome for outcome in outcomes if isinstance(outcome, TasquesError)]
        conflicts = sum(isinstance(error, VersionConflictError) for error in errors)
        if conflicts:
            log.info("workers were faster than their time-outs", extra={"tasks": conflicts})
        if others := [error for error in errors if not isinstance(error, VersionConflictError)]:
            self._observer.left(self.name, len(others))
            log.warning(
                "time-outs could not be written",
                extra={"tasks": len(others), "reason": str(others[0])},
            )
