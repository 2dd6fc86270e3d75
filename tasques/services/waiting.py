"""Who waits for tasks: claims, and the sets of queues that they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from tasques.domain.errors import StoreUnavailableError, UnavailableError
from tasques.services.candidates import CandidateBuffer
from tasques.services.giving_back import Claimed

SMALLEST_SEARCH: Final = 50
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_SPARE: Final = 64


@dataclass(slots=True, eq=False)
class Waiter:
    """One claim that is being served.

    Attributes:
        number: order of arrival; who came first is served first.
        arrived_at: on the monotonic clock.
        looks_once: it does not wait, but a search has to be made for it.
        claimed: what it has so far.
        in_flight: claims that are being written for it.
        dealt_bytes: size of what it was dealt.
        has_looked: whether all that a search which it may rely on found has been dealt.
        is_time_over: once it has looked, it gets nothing more.
        is_queued: whether it is in the heap of those that want something.
        timer: ends its waiting.
        context: of whoever waits; what is done for it is done in there.
    """

    number: int
    worker_id: str
    amount: int
    arrived_at: float
    looks_once: bool
    answer: asyncio.Future[list[Claimed]]
    claimed: list[Claimed] = field(default_factory=list)
    in_flight: int = 0
    dealt_bytes: int = 0
    error: UnavailableError | None = None
    has_looked: bool = False
    is_time_over: bool = False
    is_queued: bool = False
    timer: asyncio.TimerHandle | None = None
    context: Context = field(default_factory=copy_context)

    @property
    def wants_more(self) -> bool:
        """Whether to deal it another task."""
        return (
            not (self.is_time_over and self.has_looked)
            and self.error is None
            and len(self.claimed) + self.in_flight < self.amount
            and self.dealt_bytes < MAX_ANSWER_BYTES
            and not self.answer.done()
        )

    def take(self, claimed: Sequence[Claimed]) -> None:
        """Add to what it has, and keep that in claim order."""
        is_sorted = not self.claimed
        self.claimed += claimed
        if not is_sorted:
            self.claimed.sort(key=lambda each: each.before.rank)

    def answer_if_ready(self, failure: UnavailableError | None) -> None:
        """Answer it, unless there is something to wait for.

        Args:
            failure: why it could not be searched for more.
        """
        if self.answer.done() or self.in_flight:
            return
        if self.claimed:
            self.answer.set_result(self.claimed)
        elif self.error is not None:
            self.answer.set_exception(self.error)
        elif self.has_looked and (self.is_time_over or self.looks_once):
            if failure is not None:
                # One of its own: an error that many raise collects the traces of all of them.
                self.answer.set_exception(StoreUnavailableError(str(failure)))
            else:
                self.answer.set_result([])


@dataclass(slots=True, eq=False)
class QueueSet:
    """Everybody who waits for the same queues, and what was found in them.

    Attributes:
        queues: sorted; empty means every queue.
        waiters: by order of arrival.
        size: how many candidates to ask for; grows with the consumption.
        failure: why the latest search failed; None if it did not.
        is_dealt: whether all that the latest search found has been dealt.
        is_ageing: whether to search again before what was found is too old to be dealt.
    """

    queues: tuple[str, ...]
    buffer: CandidateBuffer
    size: int = SMALLEST_SEARCH
    waiters: dict[int, Waiter] = field(default_factory=dict)
    failure: UnavailableError | None = None
    is_dealt: bool = False
    is_ageing: bool = False
    _wanting: list[tuple[int, Waiter]] = field(default_factory=list)

    def add(self, waiter: Waiter) -> None:
        """Let a claim wait."""
        self.waiters[waiter.number] = waiter
        self.want(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Forget a claim."""
        self.waiters.pop(waiter.number, None)
        if len(self._wanting) > 2 * len(self.waiters) + _SPARE:
            self._wanting = [entry for entry in self._wanting if entry[0] in self.waiters]
            heapify(self._wanting)

    def want(self, waiter: Waiter) -> None:
        """Note that the claim wants (again) something."""
        if waiter.wants_more and not waiter.is_queued:
            waiter.is_queued = True
            heappush(self._wanting, (waiter.number, waiter))

    def first_wanting(self) -> Waiter | None:
        """The claim that is next to be dealt a task."""
        while self._wanting:
            waiter = self._wanting[0][1]
            if waiter.wants_more:
                return waiter
            heappop(self._wanting)
            waiter.is_queued = False
        return None

    def wanting(self) -> Iterator[Waiter]:
        """All claims that want more, in no order."""
        return (waiter for _, waiter in self._wanting if waiter.wants_more)
