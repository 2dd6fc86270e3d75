"""The real clock; the only place that asks the operating system for the time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

# Of Linux; elsewhere the nearest that there is.
_SINCE_BOOT: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The host's clocks. Implements `tasques.domain.ports.Clock`."""

    def now(self) -> datetime:
        """The wall-clock instant, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds since the host was started, those included in which it slept."""
        return time.clock_gettime(_SINCE_BOOT)

    async def sleep(self, seconds: float) -> None:
        """Return when that many seconds have passed."""
        await asyncio.sleep(seconds)
