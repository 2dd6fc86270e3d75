"""Claiming: conditional writes that put tasks into the hands of a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    TasquesError,
    UnavailableError,
    UnclaimableError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Candidate, Clock, Lane, TaskRepository
from tasques.domain.task import Task
from tasques.services.candidates import GoneVersions
from tasques.services.giving_back import Claimed, GivingBack

log = logging.getLogger(__name__)


class ClaimOutcome(NamedTuple):
    """What came of claiming: what was claimed, and why the store did not take the rest, if so."""

    claimed: Sequence[Claimed] = ()
    error: UnavailableError | None = None


class Claiming:
    """Writes claims. Several for one worker go together, and each has an outcome of its own."""

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        gone: GoneVersions,
        clock: Clock,
        new_claim_id: Callable[[], str],
        giving_back: GivingBack,
        offer_again: Callable[[Task], None],
    ) -> None:
        """Claim; `offer_again` is told of a task whose claim was undone."""
        self._tasks = tasks
        self._gone = gone
        self._clock = clock
        self._new_claim_id = new_claim_id
        self._giving_back = giving_back
        self._offer_again = offer_again

    async def claim(self, worker_id: str, candidates: Sequence[Candidate]) -> ClaimOutcome:
        """Claim what can be; what another claim was faster to get is left out."""
        claims = [
            claim
            for candidate in candidates
            if (claim := self._begin(worker_id, candidate)) is not None
        ]
        outcomes = await self._tasks.update_all([each.task for each in claims], Lane.CLAIM)
        claimed = []
        error: UnavailableError | None = None
        for claim, outcome in zip(claims, outcomes, strict=True):
            if isinstance(outcome, Task):
                claimed.append(Claimed(outcome, claim.before))
            elif isinstance(outcome, UnavailableError):
                error = outcome
                self._break_off(claim, outcome)
            elif not isinstance(outcome, VersionConflictError):
                log.warning("a task can not be claimed", extra={"reason": str(outcome)})
        return ClaimOutcome(claimed, error)

    async def create(self, worker_id: str, task: Task) -> tuple[Task, ClaimOutcome]:
        """Store a new task in the hands of a worker.

        Returns:
            The task as it was before it was claimed, with the version of what was stored; and what
            there is for the worker, which is nothing if somebody has changed the task by then.

        Raises:
            TasquesError: as `TaskRepository.create`; the worker has nothing then.
        """
        claim_id = self._new_claim_id()
        claim = task.claim(worker_id=worker_id, at=self._clock.now(), claim_id=claim_id)
        try:
            stored = await self._tasks.create(claim)
        except (UnresolvedWriteError, asyncio.CancelledError):
            self.give_back(Claimed(claim, task))  # it may have been written all the same
            raise
        before = task._replace(version=stored.version)
        if stored._replace(version=None) != claim:
            return before, ClaimOutcome()
        return before, ClaimOutcome((Claimed(stored, before),))

    def give_back(self, claimed: Claimed) -> None:
        """Undo a claim that nobody can use, in the background."""
        self._giving_back.start(claimed, self._offer_again)

    def _begin(self, worker_id: str, candidate: Candidate) -> Claimed | None:
        """What to write; None if the candidate is no task that can be claimed."""
        try:
            before = candidate.task()
            claim_id = self._new_claim_id()
            task = before.claim(worker_id=worker_id, at=self._clock.now(), claim_id=claim_id)
        except UnclaimableError:
            return None
        except TasquesError as error:
            log.warning("a task can not be claimed", extra={"reason": str(error)})
            return None
        return Claimed(task, before)

    def _break_off(self, claim: Claimed, error: UnavailableError) -> None:
        before = claim.before
        if before.version is not None:
            self._gone.discard((before.queue, before.id), before.version)
        if not isinstance(error, (OverloadedError, ShuttingDownError)):
            # It may have been written all the same.
            self.give_back(Claimed(claim.task._replace(version=None), before))
