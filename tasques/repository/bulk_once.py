"""Bulk requests of chores: sent once, one after the other, and judged item by item.

The coalescing writer repeats what fails until a deadline, for somebody who waits. Here nobody
does: what is not done now is found again by the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tasques.domain.errors import NotLeadingError, TasquesError
from tasques.domain.task import Version
from tasques.repository.asking import explained, send
from tasques.repository.connection import NDJSON, Connection
from tasques.repository.verdict import error_of, read_error

# By default a shard without a primary would hold up every item of a request for a minute.
_TARGET: Final = "/_bulk?require_alias=true&timeout=2s"


@dataclass(frozen=True, slots=True)
class Item:
    """How one operation ended.

    Attributes:
        status: of HTTP; 409 for a conflict.
        index: the index that was written, or was to be.
        version: what was written; None if nothing was.
        error: why it was not done, in Elasticsearch's words; None if it was.
    """

    status: int
    index: str
    version: Version | None
    error: TasquesError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOnce:
    """Sends operations in requests of bounded size.

    Attributes:
        connection: to Elasticsearch.
        max_bytes: of one request, unless it is a single operation.
        timeout: seconds for one request.
    """

    connection: Connection
    max_bytes: int
    timeout: float

    async def send(self, operations: Sequence[bytes], may_write: Callable[[], bool]) -> list[Item]:
        """Send each operation, and return how each ended.

        Raises:
            NotLeadingError: `may_write` said no; it is asked before each request.
            UnavailableError, StoreRejectedError: a request was not answered, or refused as a whole.
        """
        items: list[Item] = []
        for batch in _batches(operations, self.max_bytes):
            items += await self._send(batch, may_write)
        return items

    async def _send(self, batch: Sequence[bytes], may_write: Callable[[], bool]) -> list[Item]:
        if not may_write():
            raise NotLeadingError("Another server may lead by now.")
        answer = await send(
            self.connection,
            "POST",
            _TARGET,
            b"".join(batch),
            timeout=self.timeout,
            content_type=NDJSON,
        )
        if answer.status == 200:
            return [
                _item(result)
                for item in orjson.loads(answer.body)["items"]
                for result in item.values()
            ]
        if answer.status in (400, 413) and len(batch) > 1:
            # One operation spoils the request of all.
            middle = len(batch) // 2
            first = await self._send(batch[:middle], may_write)
            return [*first, *await self._send(batch[middle:], may_write)]
        error = explained(answer.status, *read_error(answer.body))
        if len(batch) > 1:
            raise error
        return [Item(answer.status, "", None, error)]


def _batches(operations: Sequence[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    room = max_bytes
    for operation in operations:
        if batch and len(operation) > room:
            yield batch
            batch, room = [], max_bytes
        batch.append(operation)
        room -= len(operation)
    if batch:
        yield batch


def _item(result: dict[str, Any]) -> Item:
    status: int = result["status"]
    if "error" not in result:  # a document that was to be deleted may be missing
        version = Version(result["_seq_no"], result["_primary_term"])
        return Item(status, result["_index"], version, None)
    return Item(status, result["_index"], None, explained(status, *error_of(result)))
