"""Events on their way to the agent's thread: many at a time, and not without bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

# The other thread compresses a block without the interpreter's lock, but each time that it wants
# that back costs the event loop dozens of microseconds: so blocks are few and large.
_BLOCK: Final = 512 * 1024
_MAX_WAITING: Final = 8 * 1024 * 1024
_LINGER: Final = 1.0  # seconds until a block is passed on that is not full


class Block:
    """Lines that are sent together."""

    def __init__(self, text: str, on_taken: Callable[[int], None]) -> None:
        self._text = text
        self._on_taken = on_taken

    def take(self) -> str:
        """The lines, without the last line break; in the thread that sends them."""
        self._on_taken(len(self._text))
        return self._text


class Outbox:
    """Gathers events, so that handing one to another thread is paid for once in hundreds.

    When the APM server is too slow or hangs, events that do not fit are dropped.
    """

    def __init__(self, put: Callable[[Block], None]) -> None:
        """Make an outbox; `put` takes blocks, and must not wait."""
        self._put = put
        self._lines: list[bytes] = []
        self._size = 0
        self._is_timed = False
        self._given = 0
        self._taken = 0  # by the other thread; nobody else writes it
        self._is_dropping = False

    def add(self, event: bytes) -> None:
        """Have an event sent, soon."""
        self._lines.append(event)
        self._size += len(event)
        if self._size >= _BLOCK:
            self.flush()
        elif not self._is_timed:
            self._flush_later()

    def flush(self) -> None:
        """Pass on what there is."""
        lines, self._lines, self._size = self._lines, [], 0
        if not lines:
            return
        if self._given - self._taken > _MAX_WAITING:
            if not self._is_dropping:
                log.warning("the APM server is too slow: events are dropped")
            self._is_dropping = True
            return
        self._is_dropping = False
        text = b"\n".join(lines).decode()
        self._given += len(text)
        self._put(Block(text, self._note_taken))

    def _flush_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing goes on that could be held up
            self.flush()
        else:
            self._is_timed = True
            loop.call_later(_LINGER, self._on_time)

    def _on_time(self) -> None:
        self._is_timed = False
        self.flush()

    def _note_taken(self, size: int) -> None:
        self._taken += size
