"""Undoing claims that nobody can use: the client has gone, or nobody knows whether it worked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import (
    CorruptDocumentError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    UnavailableError,
    VersionConflictError,
)
from tasques.domain.ports import Clock, Lane, TaskRepository
from tasques.domain.task import Task, TaskState, Version

log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_TRIES: Final = 12


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that was written: the task in the worker's hands, and as it was before."""

    task: Task
    before: Task


class GivingBack:
    """Writes tasks back as they were before a claim, in the background.

    What can not be given back in about half a minute is left to the processing timeout.
    """

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        clock: Clock,
        random: Random,
        background: BackgroundTasks,
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._random = random
        self._background = background

    def start(self, claimed: Claimed, on_given_back: Callable[[Task], None]) -> None:
        """Undo a claim; `on_given_back` is called with the task once it is stored.

        If the version of `claimed.task` is None, nobody knows whether the claim was written. Then
        the task is written back over the version that the claim was conditional on, or created if
        it was claimed from the start, so that the claim can not take place later either.
        """
        self._background.start(self._give_back(claimed, on_given_back), name="give back")

    async def _give_back(self, claimed: Claimed, on_given_back: Callable[[Task], None]) -> None:
        version = claimed.task.version or claimed.before.version
        has_changed = False
        for tries in range(_TRIES):
            try:
                if has_changed:
                    version = await self._version_of_claim(claimed.task)
                    if version is None:
                        return
                on_given_back(await self._write(claimed.before._replace(version=version)))
            except (VersionConflictError, TaskAlreadyExistsError):
                has_changed = True
            except UnavailableError:
                longest = min(_FIRST_PAUSE * (1 << tries), _LONGEST_PAUSE)
                await self._clock.sleep(longest * self._random.uniform(0.5, 1.0))
            else:
                return
        log.warning(
            "a claim could not be undone: its timeout will end it",
            extra={"queue": claimed.task.queue, "task_id": claimed.task.id},
        )

    async def _write(self, before: Task) -> Task:
        if before.version is not None:
            return await self._tasks.update(before, Lane.ACKNOWLEDGE)
        stored = await self._tasks.create(before)
        if not stored.is_claimable:  # it was there, and has changed since
            raise VersionConflictError(stored.queue, stored.id)
        return stored

    async def _version_of_claim(self, claimed: Task) -> Version | None:
        """The version to undo; None if the stored task is not, or no longer, in this very claim."""
        try:
            current = await self._tasks.get(claimed.queue, claimed.id)
        except (TaskNotFoundError, CorruptDocumentError):
            return None
        if current.state is not TaskState.CLAIMED or current.last_claimed is None:
            return None
        is_ours = claimed.last_claimed and current.last_claimed.claim_id == (
            claimed.last_claimed.claim_id
        )
        return current.version if is_ours else None
