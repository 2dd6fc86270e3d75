"""How many of the traces that requests begin here are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_WINDOW: Final = 1.0  # seconds


class TraceLimit:
    """A share of all traces that becomes smaller as more begin.

    An event says what share it stands for, so whoever counts them still gets the true numbers.
    """

    def __init__(self, max_per_second: int, now: Callable[[], float]) -> None:
        """Make a limit.

        Args:
            max_per_second: about so many are sent; 0 means all.
            now: seconds on a monotonic clock.
        """
        self._max = max_per_second
        self._now = now
        self._begun = now()
        self._count = 0
        self._per_second = 0.0

    def share_for_next(self, wanted: float) -> float:
        """Note that another trace begins.

        Args:
            wanted: the share that is sent while the limit is far.

        Returns:
            The share of such traces that is sent, above 0 unless none is wanted.
        """
        if not self._max or not wanted:
            return wanted
        now = self._now()
        if (seconds := now - self._begun) >= _WINDOW:
            self._per_second = self._count / seconds
            self._begun = now
            self._count = 0
        self._count += 1
        # Events have room for four digits.
        limit = round(self._max / max(self._per_second, self._count), 4)
        return min(wanted, max(limit, 0.0001))
