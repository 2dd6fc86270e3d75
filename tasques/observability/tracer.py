"""Makes the events of Elastic APM: transactions, and spans in them.

The agent's own transactions cost a multiple of what they record, and its spans look at the whole
stack; at thousands of requests per second that is felt. So these are made here, in the form of the
intake API, version 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final

import orjson

from tasques.domain.ports import Clock
from tasques.observability.trace_limit import TraceLimit
from tasques.observability.tracing import Label, Link, Place, Transaction, Wait, current

QUEUE_WAIT: Final = "wait in queue"

_MAX_TEXT: Final = 1024
_LOOK_AGAIN: Final = 1.0  # seconds; settings may be changed in Kibana


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What of the agent's settings matters for transactions.

    Attributes:
        is_recording: whether anything is recorded at all.
        rate: the share of traces that begin here and are sent.
        continues: whether a caller's trace goes on here.
        ignored: transactions whose name one of these matches are not sent.
        max_spans: in one transaction.
    """

    is_recording: bool = True
    rate: float = 1.0
    continues: bool = True
    ignored: Sequence[re.Pattern[str]] = ()
    max_spans: int = 500


class Tracer:
    """Makes events, and passes them on."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        sampling: Callable[[], Sampling],
        max_per_second: int,
        clock: Clock,
        random: Random,
    ) -> None:
        """Make a tracer.

        Args:
            send: takes each event, as one line of JSON.
            sampling: tells the settings as they are now.
            max_per_second: about so many of the limited traces are sent; 0 means all.
            clock: tells when and for how long.
            random: draws ids.
        """
        self._send = send
        self._read_sampling = sampling
        self._sampling = sampling()
        self._clock = clock
        self._random = random
        self._limit = TraceLimit(max_per_second, clock.monotonic)
        self._look_again = clock.monotonic() + _LOOK_AGAIN

    def now(self) -> float:
        """Seconds on the clock that durations are taken from."""
        return self._clock.monotonic()

    # ---------------------------------------------------------------- transactions

    def begin(
        self, kind: str, traceparent: str | None = None, *, is_limited: bool = False
    ) -> Transaction | None:
        """Begin a transaction, and make it the current one; None if nothing is recorded.

        Args:
            kind: its type.
            traceparent: whose work it is part of; a valid header.
            is_limited: it is one of those that there may be thousands of in a second; a trace
                that begins with it is counted against the limit, and may not be sent.
        """
        begun = self._clock.monotonic()
        if begun >= self._look_again:
            self._sampling = self._read_sampling()
            self._look_again = begun + _LOOK_AGAIN
        sampling = self._sampling
        if not sampling.is_recording:
            return None
        own_id = self._new_id()
        at = int(self._clock.now().timestamp() * 1_000_000)
        if traceparent is not None and sampling.continues:
            trace_id, parent, is_sampled = Place.read(traceparent)
            transaction = Transaction(kind, own_id, trace_id, parent, is_sampled, None, at, begun)
        else:
            trace_id = f"{self._random.getrandbits(128):032x}"
            rate = self._limit.share_for_next(sampling.rate) if is_limited else sampling.rate
            is_sampled = rate >= 1.0 or self._random.random() < rate
            transaction = Transaction(kind, own_id, trace_id, None, is_sampled, rate, at, begun)
            if traceparent is not None:
                transaction.link((traceparent,))
        current.set(transaction)
        return transaction

    def end(self, transaction: Transaction, name: str, result: str, outcome: str) -> None:
        """End a transaction: outcome is `success`, `failure` or `unknown`."""
        if not transaction.is_sampled or any(
            pattern.search(name) for pattern in self._sampling.ignored
        ):
            self.discard(transaction)
            return
        for wait_name, wait in transaction.waits.items():
            self._add_wait(transaction, wait_name, wait)
        self._leave(transaction)
        event: dict[str, Any] = {
            "id": transaction.id,
            "trace_id": transaction.trace_id,
            "name": name[:_MAX_TEXT],
            "type": transaction.kind,
            "timestamp": transaction.begun_at,
            "duration": (self._clock.monotonic() - transaction.begun) * 1000,
            "result": result,
            "outcome": outcome,
            "sampled": True,
            "span_count": {"started": len(transaction.spans), "dropped": transaction.dropped},
            "context": {"tags": _labels(transaction.labels)},
        }
        if transaction.parent_id is not None:
            event["parent_id"] = transaction.parent_id
        if transaction.rate is not None:
            event["sample_rate"] = transaction.rate
        if transaction.links:
            event["links"] = transaction.links
        if transaction.status is not None:
            event["context"]["response"] = {"status_code": transaction.status}
        self._send(orjson.dumps({"transaction": event}))
        for span in transaction.spans:
            self._send(span)

    def discard(self, transaction: Transaction) -> None:
        """Forget a transaction, and what was in it."""
        transaction.is_sampled = False
        self._leave(transaction)

    def _leave(self, transaction: Transaction) -> None:
        transaction.is_over = True
        if current.get() is transaction:
            current.set(None)

    # ---------------------------------------------------------------- spans

    def wait_id(self, transaction: Transaction, name: str) -> str:
        """The id of the span that its waiting for something is, or will be."""
        wait = transaction.waits.get(name)
        if wait is None:
            wait = transaction.waits[name] = Wait(self._new_id(), self._clock.monotonic())
        return wait.span_id

    def waited(self, transaction: Transaction, name: str, begun: float) -> None:
        """Note that it has waited for something; all of one name are one span of it."""
        wait = transaction.waits.get(name)
        if wait is None:
            wait = transaction.waits[name] = Wait(self._new_id(), begun)
        wait.begun = min(wait.begun, begun)
        wait.ended = self._clock.monotonic()
        wait.count += 1
        wait.seconds += wait.ended - begun

    def add_span(
        self,
        transaction: Transaction,
        name: str,
        begun: float,
        *,
        kind: tuple[str, str, str],
        outcome: str,
        parent_id: str | None = None,
        context: Mapping[str, Any],
        labels: Mapping[str, Label],
        links: Sequence[Link] = (),
    ) -> None:
        """Add something that has just ended to a transaction.

        Args:
            transaction: it may have ended before it.
            name: without anything that there are many of.
            begun: on the monotonic clock.
            kind: type, subtype and action.
            outcome: as that of a transaction.
            parent_id: a span that it is part of.
            context: more about it, as the intake API wants it.
            labels: more about it, in words of our own.
            links: other traces that it has to do with.
        """
        event = self._span(transaction, name, begun, self._clock.monotonic() - begun)
        event["type"], event["subtype"], event["action"] = kind
        event["outcome"] = outcome
        event["context"] = {**context, "tags": _labels(labels)}
        if parent_id is not None:
            event["parent_id"] = parent_id
        if links:
            event["links"] = links
        self._add(transaction, event)

    def add_queue_wait(
        self,
        claim: Transaction,
        enqueued_by: Place,
        *,
        begun: datetime,
        milliseconds: int,
        labels: Mapping[str, Label],
    ) -> None:
        """Tell whoever enqueued a task how long it waited; the claim that ended this is linked."""
        event = {
            "id": self._new_id(),
            "trace_id": enqueued_by.trace_id,
            "parent_id": enqueued_by.span_id,
            "name": QUEUE_WAIT,
            "type": "messaging",
            "subtype": "tasques",
            "timestamp": int(begun.timestamp() * 1_000_000),
            "duration": milliseconds,
            "outcome": "success",
            "links": [{"trace_id": claim.trace_id, "span_id": claim.id}],
            "context": {"tags": _labels(labels)},
        }
        self._send(orjson.dumps({"span": event}))

    def _add_wait(self, transaction: Transaction, name: str, wait: Wait) -> None:
        if not wait.count:
            return
        event = self._span(transaction, name, wait.begun, wait.ended - wait.begun)
        event |= {"id": wait.span_id, "type": "app", "subtype": "wait", "outcome": "unknown"}
        if wait.count > 1:
            event["composite"] = {
                "compression_strategy": "exact_match",
                "count": wait.count,
                "sum": wait.seconds * 1000,
            }
        self._add(transaction, event)

    def _span(
        self, transaction: Transaction, name: str, begun: float, seconds: float
    ) -> dict[str, Any]:
        since = begun - transaction.begun
        event = {
            "id": self._new_id(),
            "transaction_id": transaction.id,
            "trace_id": transaction.trace_id,
            "parent_id": transaction.id,
            "name": name,
            "timestamp": transaction.begun_at + int(since * 1_000_000),
            "duration": seconds * 1000,
        }
        if transaction.rate is not None:
            event["sample_rate"] = transaction.rate
        return event

    def _add(self, transaction: Transaction, event: dict[str, Any]) -> None:
        if not transaction.is_sampled:
            return
        line = orjson.dumps({"span": event})
        if not transaction.is_over:
            if len(transaction.spans) >= self._sampling.max_spans:
                transaction.dropped += 1
            else:
                transaction.spans.append(line)
        else:
            self._send(line)

    def _new_id(self) -> str:
        return f"{self._random.getrandbits(64):016x}"


def _labels(labels: Mapping[str, Label]) -> dict[str, Label]:
    """Texts as the intake API takes them: of bounded length, and of characters that there are."""
    return {
        name: _text(value) if isinstance(value, str) else value for name, value in labels.items()
    }


def _text(value: str) -> str:
    if not value.isascii():  # surrogates are no text
        value = value.encode("utf-8", "replace").decode()
    return value[:_MAX_TEXT]
