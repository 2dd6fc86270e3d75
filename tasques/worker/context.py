"""What a handler is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Event

from tasques.client import JsonObject, Task
from tasques.worker.errors import CancelledByWorker


class Context:
    """The task that a handler works on, and its line to the worker.

    Attributes:
        task: as it was claimed.
        args: those of the task; empty if it has none.
    """

    def __init__(
        self, task: Task, *, cancelled: Event, on_report: Callable[[JsonObject], None]
    ) -> None:
        self.task = task
        self.args: JsonObject = task.args or {}
        self._cancelled = cancelled
        self._on_report = on_report

    def report(self, data: JsonObject) -> None:
        """Say how far the work is, for whoever reads the task.

        Returns at once: it is sent beside the work, and what comes faster than it can be sent is
        skipped but for the latest. Signs of life are sent anyway, without this.

        Raises:
            TypeError, ValueError: it can not be written as JSON.
        """
        self._on_report(json.loads(json.dumps(dict(data), allow_nan=False)))

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is of no use any more: the claim is lost, or the worker must end now.

        An async handler is cancelled then. One that runs in a thread can not be: if it takes
        long, it should look here now and then.
        """
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """End a handler that is of no use any more.

        Raises:
            CancelledByWorker: it is not; let it through.
        """
        if self.is_cancelled:
            raise CancelledByWorker
