"""How a server is told to stop."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SAME: Final = 1.0  # seconds; a service manager and our own parent may both pass on one signal


class Stop:
    """Set by the first SIGTERM or SIGINT; belongs to the running loop.

    Not by the loop's own handlers: they are gone before it has ended, and so would be the process
    at the second of two signals.
    """

    def __init__(self) -> None:
        """Take the signals over; `ignore_signals` is to be called in the end."""
        self.told = asyncio.Event()
        self.at_once = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._told_at = float("inf")
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    async def wait_unless_hurried(self, seconds: float) -> None:
        """Wait so long, or until Ctrl-C or another signal says that it is to end at once."""
        try:
            async with asyncio.timeout(seconds):
                await self.at_once.wait()
        except TimeoutError:
            pass

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, number)

    def _tell(self, number: int) -> None:
        now = self._loop.time()
        self._told_at = min(self._told_at, now)
        if number == signal.SIGINT or now - self._told_at > _SAME:
            self.at_once.set()
        self.told.set()


def ignore_signals() -> None:
    """For a process that is about to end anyway."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
