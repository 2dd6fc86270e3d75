"""Requests to Elasticsearch as spans of Elastic APM. Import this module only if that is wanted.

Writes and reads of many requests go together, so what is sent is not part of one of them. It is a
span of the first that it is sent for, linked to the others; each of them says for how long it
waited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from tasques.domain.ports import Candidate, ClaimSearch, Lane
from tasques.domain.task import Version
from tasques.observability.tracer import Tracer
from tasques.observability.tracing import (
    MAX_LINKS,
    Label,
    Link,
    Transaction,
    current,
    current_transaction,
)
from tasques.repository.bulk import BulkWriter
from tasques.repository.connection import JSON, Answer, Connection, endpoint
from tasques.repository.reads import DocumentReader, Found
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.repository.writes import MayWrite, Submission, Write

BULK_WAIT: Final = "bulk write"
READ_WAIT: Final = "read"
CLAIM_SEARCH: Final = "claim search"
BACKGROUND: Final = "background"

_ELASTICSEARCH: Final = {
    "destination": {"service": {"resource": "elasticsearch", "name": "", "type": ""}},
    "service": {"target": {"type": "elasticsearch"}},
}


class _Served(NamedTuple):
    """Whom a request is sent for, if not for whoever sends it."""

    transactions: Sequence[Transaction]
    labels: dict[str, Label]


_served: Final[ContextVar[_Served | None]] = ContextVar("served", default=None)


class TracedConnection(Connection):
    """A connection whose requests are spans of what they are sent for, if that is traced."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 - as the connection has it
        content_type: str = JSON,
    ) -> Answer:
        """Send one request. See `Connection`."""
        begun = self._tracer.now()
        answer: Answer | None = None
        try:
            answer = await super().request(
                method, target, body, timeout=timeout, content_type=content_type
            )
        finally:
            self._note(f"Elasticsearch: {method} {endpoint(target)}", begun, answer, body)
        return answer

    def _note(self, name: str, begun: float, answer: Answer | None, body: bytes | None) -> None:
        served = _served.get()
        if served is None:
            transaction = current_transaction()
            served = _Served([transaction] if transaction is not None else [], {})
        if not served.transactions:
            return
        first, *others = served.transactions
        context: dict[str, Any] = dict(_ELASTICSEARCH)
        if answer is not None:
            context["http"] = {"response": {"status_code": answer.status}}
        is_good = answer is not None and (answer.status < 400 or answer.status == 404)
        self._tracer.add_span(
            first,
            name,
            begun,
            kind=("db", "elasticsearch", "request"),
            outcome="success" if is_good else "failure",
            parent_id=self._tracer.wait_id(first, BULK_WAIT) if served.labels else None,
            context=context,
            labels=served.labels | {"bytes": len(body or b"")},
            links=[self._link(each) for each in others[:MAX_LINKS]],
        )

    def _link(self, transaction: Transaction) -> Link:
        return {
            "trace_id": transaction.trace_id,
            "span_id": self._tracer.wait_id(transaction, BULK_WAIT),
        }


class TracedBulkWriter(BulkWriter):
    """A writer that notes for how long transactions wait for it, and whom a request serves."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer

    async def submit_all(
        self, lane: Lane, bodies: Sequence[bytes], *, may_write: MayWrite | None = None
    ) -> list[Version | Exception]:
        """Have several operations executed. See `BulkWriter`."""
        if (transaction := _sampled()) is None or not bodies:
            return await super().submit_all(lane, bodies, may_write=may_write)
        begun = self._tracer.now()
        try:
            return await super().submit_all(lane, bodies, may_write=may_write)
        finally:
            self._tracer.waited(transaction, BULK_WAIT, begun)

    def _accept(
        self, lane: Lane, bodies: Sequence[bytes], may_write: MayWrite | None
    ) -> Submission:
        submission = super()._accept(lane, bodies, may_write)
        submission.transaction = _sampled()
        return submission

    async def _send(self, batch: list[Write]) -> None:
        transactions = dict.fromkeys(
            write.submission.transaction
            for write in batch
            if write.submission.transaction is not None
        )
        lanes = Counter(write.lane for write in batch)
        labels: dict[str, Label] = {"operations": len(batch)}
        labels |= {lane.name.lower(): count for lane, count in lanes.items()}
        served = _served.set(_Served(list(transactions), labels))
        # What started this task may have nothing to do with it, but lines of the log would say so.
        first = current.set(next(iter(transactions), None))
        try:
            await super()._send(batch)
        finally:
            current.reset(first)
            _served.reset(served)


class TracedDocumentReader(DocumentReader):
    """A reader that notes for how long transactions wait for it."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer

    async def get(self, index: str, document_id: str) -> Found | None:
        """Read a document. See `DocumentReader`."""
        if (transaction := _sampled()) is None:
            return await super().get(index, document_id)
        begun = self._tracer.now()
        try:
            return await super().get(index, document_id)
        finally:
            self._tracer.waited(transaction, READ_WAIT, begun)


class TracedTaskRepository(ElasticsearchTaskRepository):
    """A repository whose searches for all claims together are transactions, if they find any."""

    def __init__(self, *args: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tracer = tracer
        self._search: Transaction | None = None

    async def refresh(self) -> None:
        """Make what was written visible, for the search that follows. See the port."""
        self._search = self._tracer.begin(BACKGROUND)
        with self._ended_by_failure(self._search):
            await super().refresh()

    async def search_claimable(
        self, searches: Sequence[ClaimSearch]
    ) -> Sequence[Sequence[Candidate]]:
        """Find claimable tasks. See the port."""
        transaction, self._search = self._search or self._tracer.begin(BACKGROUND), None
        with self._ended_by_failure(transaction):
            found = await super().search_claimable(searches)
        if transaction is None:
            return found
        if count := sum(map(len, found)):
            transaction.labels |= {"searches": len(searches), "found": count}
            self._tracer.end(transaction, CLAIM_SEARCH, "success", "success")
        else:
            self._tracer.discard(transaction)
        return found

    @contextmanager
    def _ended_by_failure(self, transaction: Transaction | None) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._search = None
            if transaction is not None and isinstance(error, Exception):
                self._tracer.end(transaction, CLAIM_SEARCH, "failure", "failure")
            elif transaction is not None:
                self._tracer.discard(transaction)
            raise


def _sampled() -> Transaction | None:
    transaction = current_transaction()
    return transaction if transaction is not None and transaction.is_sampled else None
