"""What the leader does again and again."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NoReturn, Protocol


class Outcome(StrEnum):
    """How a pass ended."""

    DONE = "done"
    BROKEN_OFF = "broken_off"  # the next one goes on with what is left
    FAILED = "failed"  # by a bug


OnPass = Callable[[str, Outcome, int, float], None]
"""Is told of a pass: the chore's name, how it ended, how many things were done, and seconds."""


def ignore(_chore: str, _outcome: Outcome, _done: int, _seconds: float) -> None:
    """Take no note of a pass."""


class Chore(Protocol):
    """Work that is done in passes, one after the other, while this server leads.

    A chore asks whether it still does before each page and each attempt to write. All its writes
    are create-only or conditional, so two leaders at a time waste work and do no harm.

    Attributes:
        name: for logs and metrics.
        interval: seconds from one pass to the next.
    """

    name: str
    interval: float

    async def run_once(self) -> int:
        """Do one pass; return how many things were done.

        Raises:
            TasquesError: it was broken off; the next pass goes on with what is left.
        """
        ...


class Loop(Protocol):
    """Work of the leader that knows by itself when it is to be done.

    Attributes:
        name: for logs and metrics.
    """

    name: str

    async def run(self) -> NoReturn:
        """Do it whenever this server leads, until cancelled. What fails is logged and repeated."""
        ...
