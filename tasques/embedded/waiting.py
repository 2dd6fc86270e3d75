"""Waiting for processes, files and ports: things outside that tell nobody when they change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Deadline:
    """A point in time, some seconds from its making."""

    def __init__(self, seconds: float) -> None:
        self._end = self._now() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, never below zero."""
        return max(0.0, self._end - self._now())

    @staticmethod
    def _now() -> float:
        return time.monotonic()  # noqa: TID251 -- real processes are waited for, no clock helps


def poll(look: Callable[[], T | None], deadline: Deadline, *, every: float = 0.03) -> T | None:
    """What `look` finds, as soon as it finds something; `None` when the time is over."""
    while True:
        if (found := look()) is not None:
            return found
        if deadline.left == 0:
            return None
        time.sleep(min(every, deadline.left))
