"""Warnings about passes that take long."""

from __future__ import annotations

import logging

from tasques.background.chore import Chore
from tasques.domain.ports import Clock

log = logging.getLogger(__name__)


class WatchedChore:
    """A chore whose slow passes are logged, whether they succeed or not."""

    def __init__(self, chore: Chore, clock: Clock, *, slow_after: float) -> None:
        """Watch a chore; `slow_after` is in seconds."""
        self.name = chore.name
        self.interval = chore.interval
        self._chore = chore
        self._clock = clock
        self._slow_after = slow_after

    async def run_once(self) -> int:
        """Do one pass, as the chore does."""
        begun = self._clock.monotonic()
        try:
            return await self._chore.run_once()
        finally:
            seconds = self._clock.monotonic() - begun
            if seconds >= self._slow_after:
                log.warning(
                    "slow chore",
                    extra={"chore": self.name, "duration_ms": round(seconds * 1000, 3)},
                )


def watched(chore: Chore, clock: Clock, *, slow_after: float) -> Chore:
    """The chore with its slow passes logged; the chore itself, if `slow_after` is 0."""
    return WatchedChore(chore, clock, slow_after=slow_after) if slow_after else chore
