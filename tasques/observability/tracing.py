"""Transactions of Elastic APM, and which of them code is part of.

Nothing of the agent is imported: whoever looks for the current transaction costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_LINKS: Final = 100
"""So many other traces an event names at most."""

_SAMPLED: Final = 1

Label = str | int | float
Link = dict[str, str]


class Place(NamedTuple):
    """A place in a trace, as a `traceparent` says."""

    trace_id: str
    span_id: str
    is_sampled: bool

    @classmethod
    def read(cls, traceparent: str) -> Place:
        """Take a header that is known to be valid."""
        _, trace_id, span_id, flags = traceparent.split("-")
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


@dataclass(slots=True)
class Wait:
    """How often, and for how long in all, a transaction waited for one kind of thing.

    Times are in seconds on the monotonic clock.
    """

    span_id: str
    begun: float
    count: int = 0
    seconds: float = 0.0
    ended: float = 0.0


@dataclass(slots=True, eq=False)
class Transaction:
    """A unit of work.

    Attributes:
        begun_at: microseconds since 1970.
        begun: the same on the monotonic clock, in seconds.
        is_over: it has been sent, or never will be.
    """

    kind: str
    id: str
    trace_id: str
    parent_id: str | None
    is_sampled: bool
    rate: float | None
    begun_at: int
    begun: float
    is_over: bool = False
    labels: dict[str, Label] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    status: int | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    spans: list[bytes] = field(default_factory=list)
    dropped: int = 0

    @property
    def traceparent(self) -> str:
        """Itself, in the form of W3C's header."""
        return f"00-{self.trace_id}-{self.id}-{'01' if self.is_sampled else '00'}"

    def link(self, traceparents: Iterable[str | None]) -> None:
        """Name other traces that it has to do with."""
        seen: set[str] = set()
        for text in traceparents:
            if text is None or self.trace_id in text or text in seen:
                continue
            seen.add(text)
            if len(self.links) < MAX_LINKS:
                place = Place.read(text)
                self.links.append({"trace_id": place.trace_id, "span_id": place.span_id})


current: Final[ContextVar[Transaction | None]] = ContextVar("transaction", default=None)
"""What code is part of, or was: ask `current_transaction`."""


def current_transaction() -> Transaction | None:
    """What this code is part of; None also if that is over, for what it started inherits it."""
    transaction = current.get()
    return None if transaction is None or transaction.is_over else transaction


def current_traceparent() -> str | None:
    """The same in the form of W3C's header."""
    transaction = current_transaction()
    return None if transaction is None else transaction.traceparent
