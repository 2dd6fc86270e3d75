"""Whether this host's clock can be trusted with what is due.

When a task is due, or its time is over, is judged by the leader's clock. So every server measures
how far its clock is from the store's, which is the same for all, and one whose clock is far off
does not lead. Between two measurements the clock since boot shows whether the wall clock was set.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from tasques.domain.errors import UnavailableError
from tasques.domain.ports import Clock, StoreClock

log = logging.getLogger(__name__)

_INTERVAL: Final = 60.0  # seconds
_INTERVAL_AFTER_FAILURE: Final = 1.0
_WORTH_A_WARNING: Final = timedelta(seconds=1)
_NONE: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class _Measurement:
    """How far the clock was off at one moment.

    Attributes:
        offset: positive if this host's clock is ahead.
        at: that moment by the wall clock.
        since_boot: that moment by the clock since boot, in seconds.
    """

    offset: timedelta
    at: datetime
    since_boot: float


class ClockCheck:
    """Knows how far this host's clock is from the store's."""

    def __init__(self, *, store: StoreClock, clock: Clock, max_offset: timedelta) -> None:
        """Make a check; its `run` has to be running.

        Args:
            store: the clock to compare with.
            clock: of this host.
            max_offset: with a clock that is further off this server must not lead.
        """
        self._store = store
        self._clock = clock
        self._max_offset = max_offset
        self._measured: _Measurement | None = None
        self._may_not_know = False
        self._has_warned = False

    @property
    def offset(self) -> timedelta | None:
        """How far this host's clock is ahead right now; None if that is not known."""
        if self._measured is None:
            return None
        by_wall = self._clock.now() - self._measured.at
        by_boot = timedelta(seconds=self._clock.boottime() - self._measured.since_boot)
        return self._measured.offset + (by_wall - by_boot)

    def is_good(self) -> bool:
        """Whether the clock can be trusted. A clock that can not be measured is."""
        offset = self.offset
        if offset is None:
            return self._may_not_know
        return abs(offset) <= self._max_offset

    def warning(self) -> str | None:
        """What an operator should know about this clock."""
        offset = self.offset
        if offset is None or abs(offset) <= _WORTH_A_WARNING:
            return None
        direction = "ahead of" if offset > _NONE else "behind"
        text = f"The clock is {abs(offset).total_seconds():.1f} s {direction} Elasticsearch's"
        return text + ("." if self.is_good() else ": this server does not lead.")

    async def run(self) -> NoReturn:
        """Measure again and again."""
        while True:
            try:
                await self.measure()
            except UnavailableError as error:
                log.debug("could not look at the store's clock", extra={"reason": str(error)})
                await self._clock.sleep(_INTERVAL_AFTER_FAILURE)
            else:
                self._report()
                await self._clock.sleep(_INTERVAL)

    async def measure(self) -> None:
        """Compare the clocks.

        Raises:
            UnavailableError: the store does not answer; what was known is kept.
        """
        asked_at, asked = self._clock.now(), self._clock.boottime()
        store = await self._store.now()
        if store is None:
            self._may_not_know = True
            return
        half = timedelta(seconds=(self._clock.boottime() - asked) / 2)
        offset = asked_at + half - store
        # The answer may have come at once, or have been given at once.
        certain = max(abs(offset) - half, _NONE)
        offset = certain if offset > _NONE else -certain
        self._measured = _Measurement(offset, asked_at, asked)

    def _report(self) -> None:
        """Warn once, and say when it is over."""
        if (text := self.warning()) is None:
            if self._has_warned:
                self._has_warned = False
                log.info("the clock is right again")
        elif not self._has_warned:
            self._has_warned = True
            log.warning(text)
