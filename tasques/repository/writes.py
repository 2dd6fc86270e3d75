"""A write, from its submission to its answer."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from tasques.domain.errors import NotLeadingError, OverloadedError, StoreUnavailableError
from tasques.domain.ports import Lane
from tasques.domain.task import Version
from tasques.observability.tracing import Transaction
from tasques.repository.verdict import Verdict

MayWrite = Callable[[], bool]
"""Whether whoever submitted a write still wants it; asked before each attempt."""


class BulkObserver(Protocol):
    """Is told what the writer does, so that it can be counted."""

    def answered(
        self, status: int | None, seconds: float, *, operations: int, repeated: int
    ) -> None:
        """A request has ended.

        Args:
            status: of the answer; None if there is none.
            seconds: how long it took.
            operations: how many writes were in it.
            repeated: how many of them had been sent before.
        """
        ...

    def settled(self, result: Verdict, count: int) -> None:
        """So many writes of a request had that result; others may come of the next try."""
        ...


class _Unobserved:
    """Counts nothing. Implements `BulkObserver`."""

    def answered(
        self, status: int | None, seconds: float, *, operations: int, repeated: int
    ) -> None:
        """Nothing."""

    def settled(self, result: Verdict, count: int) -> None:
        """Nothing."""


UNOBSERVED: Final[BulkObserver] = _Unobserved()


class WriteConflictError(Exception):
    """The stored document is not the one that the write was made for; perhaps it is our own."""


class OutcomeUnknownError(Exception):
    """The write may or may not have been executed, and its time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimits:
    """Bounds of the writer. Times are in seconds.

    Attributes:
        max_in_flight: requests under way at a time, at least 2.
        max_operations: writes in one request.
        max_bytes: size of one request.
        deadline: how long a write is tried before its caller is told.
        request_timeout: how long one request may take.
        max_pending_operations: writes that wait or are under way; more are refused.
        max_pending_bytes: the same in bytes.
    """

    max_in_flight: int = 3
    max_operations: int = 500
    max_bytes: int = 5 * 1024 * 1024
    deadline: float = 8.0
    request_timeout: float = 5.0
    max_pending_operations: int = 20_000
    max_pending_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Submission:
    """The writes that one caller has submitted and waits for.

    Attributes:
        deadline: when their time is over, on the monotonic clock.
        all_over: done when the outcome of each is known.
        may_write: asked before each try.
        transaction: what waits for them, where that is traced.
        writes: in the order of the caller.
    """

    deadline: float
    all_over: Future[None]
    may_write: MayWrite | None = None
    transaction: Transaction | None = None
    writes: list[Write] = field(default_factory=list)
    _left: int = 0

    def add(self, lane: Lane, body: bytes) -> Write:
        """Let another write belong to it."""
        write = Write(lane, body, self)
        self.writes.append(write)
        self._left += 1
        return write

    def release(self) -> list[Version | Exception]:
        """Nobody waits for them any more; return what came of each."""
        if self._left:
            self.break_off(StoreUnavailableError("Nobody waits for the write."))
        outcomes = [write.outcome for write in self.writes if write.outcome is not None]
        self.writes.clear()  # else they keep each other alive until the garbage is collected
        return outcomes

    def note_end(self) -> None:
        """One of the writes is over."""
        self._left -= 1
        if not self._left and not self.all_over.done():
            self.all_over.set_result(None)

    def break_off(self, error: Exception) -> None:
        """Nobody waits for the tries that are under way; `error` tells why."""
        for write in self.writes:
            write.break_off(error)

    def end(self) -> None:
        """Their time is over."""
        for write in self.writes:
            write.end()


@dataclass(slots=True, eq=False)
class Write:
    """One operation of a `_bulk` request.

    `body` holds the action and, if it has one, the document, each with its line break. `outcome`
    is None until it is known. `is_sent` tells that a request with it is under way, `is_unsure`
    that an earlier one may have been executed although no answer came.
    """

    lane: Lane
    body: bytes
    submission: Submission
    outcome: Version | Exception | None = None
    tries: int = 0
    is_sent: bool = False
    is_unsure: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more: its outcome is known, or its caller has gone."""
        return self.outcome is not None

    @property
    def deadline(self) -> float:
        """When its time is over, on the monotonic clock."""
        return self.submission.deadline

    def is_wanted(self) -> bool:
        """Whether it is to be sent; if its owner says no, that is its answer."""
        if self.outcome is not None:
            return False
        may_write = self.submission.may_write
        if may_write is not None and not may_write():
            self.refuse(NotLeadingError("Another server may lead by now."))
            return False
        return True

    def succeed(self, version: Version) -> None:
        """It was executed."""
        self._end_with(version)

    def fail(self, error: Exception) -> None:
        """It will not be tried any more."""
        self._end_with(error)

    def refuse(self, error: Exception) -> None:
        """Its last try was not executed; but perhaps an earlier one was."""
        self.fail(OutcomeUnknownError() if self.is_unsure else error)

    def break_off(self, error: Exception) -> None:
        """Nobody waits for its try any more, if one is under way; `error` tells why."""
        self.fail(OutcomeUnknownError() if self.is_sent or self.is_unsure else error)

    def end(self) -> None:
        """Its time is over."""
        if self.tries:
            self.break_off(StoreUnavailableError("Elasticsearch does not take writes now."))
        else:
            self.break_off(OverloadedError("Elasticsearch did not take the write in time."))

    def _end_with(self, outcome: Version | Exception) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.submission.note_end()
