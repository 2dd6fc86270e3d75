"""What the leader does again and again."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NoReturn, Protocol


class Outcome(StrEnum):
    """How a pass ended."""

    DONE = "done"
    BROKEN_OFF = "broken_off"  # the next one goes on with what is left
    FAILED = "failed"  # by a bug


class ChoreObserver(Protocol):
    """Is told what chores do, so that it can be counted."""

    def passed(self, chore: str, outcome: Outcome, done: int, seconds: float) -> None:
        """A pass of the chore of that name has ended, in which so many things were done."""
        ...

    def left(self, chore: str, count: int) -> None:
        """So many things could not be done, and are left for a later pass."""
        ...


class _Unobserved:
    """Counts nothing. Implements `ChoreObserver`."""

    def passed(self, chore: str, outcome: Outcome, done: int, seconds: float) -> None:
        """Nothing."""

    def left(self, chore: str, count: int) -> None:
        """Nothing."""


UNOBSERVED: Final[ChoreObserver] = _Unobserved()


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
