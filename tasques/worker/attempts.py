"""A claimed task while it is worked on: its signs of life, and the loss of its claim."""

from __future__ import annotations

import asyncio
import logging
from threading import Event
from typing import Final

from tasques.client import (
    AsyncClient,
    InvalidRequestError,
    JsonObject,
    NotClaimedError,
    NotFoundError,
    NotOwnedByWorkerError,
    Task,
    TasquesError,
)
from tasques.client.calls import is_same_claim
from tasques.worker.context import Context

log = logging.getLogger(__name__)

LOST: Final = (NotClaimedError, NotOwnedByWorkerError, NotFoundError)
"""What is answered when a claim is not ours any more."""

_SUPERSEDED: Final = "report_from_the_past"
_SIGNS_PER_TIMEOUT: Final = 3


class Attempt:
    """One claim of a task.

    Attributes:
        is_lost: the claim is somebody else's, or nobody's.
        is_cut_off: the worker ends and will not wait any longer.
        runner: what works on it.
        traceparent: the place in a trace of the work on it, for those that are told how it ended.
    """

    def __init__(self, task: Task, client: AsyncClient, *, can_be_cancelled: bool) -> None:
        self.task = task
        self.is_lost = False
        self.is_cut_off = False
        self.runner: asyncio.Task[None] | None = None
        self.traceparent = task.traceparent
        self._client = client
        self._can_be_cancelled = can_be_cancelled
        self._loop = asyncio.get_running_loop()
        self._cancelled = Event()
        self._data: JsonObject | None = None
        self._has_news = False
        self._is_over = False
        self._reporting: asyncio.Task[None] | None = None
        self._interval = task.processing_timeout.total_seconds() / _SIGNS_PER_TIMEOUT
        self._timer = self._loop.call_later(self._interval, self._report)
        self.context = Context(task, cancelled=self._cancelled, on_report=self._on_report)

    @property
    def key(self) -> tuple[str, str]:
        """What tells the task from others."""
        return self.task.queue, self.task.id

    def lose(self) -> None:
        """The claim is gone: the work is of no use any more."""
        if not (self.is_lost or self._is_over):
            self.is_lost = True
            log.warning("claim lost", extra=self.names)
            self._cancel(even_if_stuck=False)

    def cut_off(self) -> None:
        """The worker ends: give up the work, whatever it is at."""
        self.is_cut_off = True
        self._cancel(even_if_stuck=True)

    def end(self) -> None:
        """The work is over: no more signs of life."""
        self._is_over = True
        self._timer.cancel()
        if self._reporting is not None:
            self._reporting.cancel()

    @property
    def names(self) -> dict[str, object]:
        """What tells in the log which attempt it is."""
        task = self.task
        return {
            "queue": task.queue,
            "task_id": task.id,
            "kind": task.kind,
            "attempt": task.attempted,
        }

    def _cancel(self, *, even_if_stuck: bool) -> None:
        """Cancel the work; a thread is only told, and keeps its slot unless that has to end."""
        self._cancelled.set()
        if self.runner is not None and (self._can_be_cancelled or even_if_stuck):
            self.runner.cancel()

    # ---------------------------------------------------------------- signs of life

    def _on_report(self, data: JsonObject) -> None:
        """From a handler, in whatever thread."""
        self._loop.call_soon_threadsafe(self._note, data)

    def _note(self, data: JsonObject) -> None:
        self._data = data
        self._has_news = True
        if self._reporting is None:
            self._report()

    def _report(self) -> None:
        if not (self._is_over or self.is_lost or self._reporting is not None):
            self._timer.cancel()
            self._reporting = self._loop.create_task(self._send(), name="tasques-report")

    async def _send(self) -> None:
        self._has_news = False
        try:
            # A report replaces the one before, so one without data would take away what was said.
            stored = await self._client.report(self.task, self._data)
            if not is_same_claim(stored, self.task):
                self.lose()
        except LOST:
            self.lose()
        except TasquesError as error:
            log.warning("report failed", extra=self.names | {"reason": str(error)})
            if isinstance(error, InvalidRequestError) and error.code != _SUPERSEDED:
                self._data = None  # signs of life must go on, without what is not taken
        finally:
            self._reporting = None
            if not self._is_over:
                self._timer = self._loop.call_later(self._interval, self._report)
        if self._has_news:
            self._report()
