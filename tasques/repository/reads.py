"""Coalesced real-time reads by id: many callers, few `_mget` requests.

Works like the writer in `bulk.py`: no timer, at most a few requests under way, and what arrives
meanwhile goes together into the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import OverloadedError, ShuttingDownError, StoreUnavailableError
from tasques.domain.ports import Clock
from tasques.domain.task import Version
from tasques.repository.condition import Condition
from tasques.repository.connection import Answer, Connection, NoAnswerError
from tasques.repository.pending import Pending
from tasques.repository.verdict import Verdict, error_of, judge, read_error

_MAX_DOCUMENTS: Final = 200
_MAX_IN_FLIGHT: Final = 3
_FIRST_PAUSE: Final = 0.03
_LONGEST_PAUSE: Final = 0.5
_SHORTEST_TIMEOUT: Final = 0.05


class Found(NamedTuple):
    """A document as it is now."""

    source: dict[str, Any]
    version: Version


@dataclass(slots=True, eq=False)
class _Read:
    index: str
    document_id: str
    deadline: float
    answer: asyncio.Future[Found | None]
    tries: int = 0

    def succeed(self, found: Found | None) -> None:
        if not self.answer.done():
            self.answer.set_result(found)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def end(self) -> None:
        self.fail(StoreUnavailableError("Elasticsearch does not answer."))


class DocumentReader:
    """Reads documents by id, as of now and not as of the last refresh."""

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Clock,
        random: Random,
        deadline: float,
        request_timeout: float,
        max_pending: int,
    ) -> None:
        """Make a reader; `deadline` and `request_timeout` are in seconds."""
        self._connection = connection
        self._clock = clock
        self._random = random
        self._deadline = deadline
        self._request_timeout = request_timeout
        self._max_pending = max_pending
        self._condition = Condition("reads", clock)
        self._waiting: deque[_Read] = deque()
        self._tasks = BackgroundTasks()
        self._pending: Pending[_Read] = Pending(clock, self._tasks, name="mget deadlines")
        self._in_flight = 0
        self._is_woken = False
        self._is_closed = False

    async def get(self, index: str, document_id: str) -> Found | None:
        """The document, or None if there is none.

        Raises:
            UnavailableError: there is no answer in time.
            StoreRejectedError: there never will be one.
        """
        if self._is_closed:
            raise ShuttingDownError("The server is about to stop.")
        if len(self._pending) >= self._max_pending:
            raise OverloadedError("Too many reads wait for Elasticsearch.")
        read = _Read(
            index,
            document_id,
            self._clock.monotonic() + self._deadline,
            asyncio.get_running_loop().create_future(),
        )
        self._pending.add(read)
        self._waiting.append(read)
        self._wake()
        try:
            return await read.answer
        finally:
            self._pending.remove(read)

    async def close(self) -> None:
        """Give up what is under way."""
        self._is_closed = True
        for read in self._pending:
            read.fail(ShuttingDownError("The server is about to stop."))
        await self._tasks.drain(0)

    # ---------------------------------------------------------------- sending

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        self._is_woken = False
        while not self._is_closed and self._in_flight < _MAX_IN_FLIGHT:
            if not (batch := self._take()):
                return
            self._in_flight += 1
            self._tasks.start(self._run(batch), name="mget")

    def _take(self) -> list[_Read]:
        batch: list[_Read] = []
        most = _MAX_DOCUMENTS
        while self._waiting and len(batch) < most:
            read = self._waiting.popleft()
            if not read.answer.done():
                batch.append(read)
                # Many large documents at once may be what went wrong before.
                most = min(most, max(1, _MAX_DOCUMENTS >> min(read.tries, 10)))
        return batch

    async def _run(self, batch: list[_Read]) -> None:
        try:
            await self._try_again(await self._read(batch))
        except BaseException:
            for read in batch:
                read.fail(StoreUnavailableError("The read was broken off."))
            raise
        finally:
            self._in_flight -= 1
            self._wake()

    async def _read(self, batch: list[_Read]) -> list[_Read]:
        """Send one request; return those that have to be tried again."""
        documents = [{"_index": read.index, "_id": read.document_id} for read in batch]
        time_left = max(read.deadline for read in batch) - self._clock.monotonic()
        try:
            answer = await self._connection.request(
                "POST",
                "/_mget",
                orjson.dumps({"docs": documents}),
                timeout=max(_SHORTEST_TIMEOUT, min(self._request_timeout, time_left)),
            )
        except NoAnswerError:
            return batch
        if answer.status != 200:
            return self._settle_refused(batch, answer)
        if (found := _documents(answer.body, len(batch))) is not None:
            return self._settle(batch, found)
        self._condition.refused("", answer.status, None, read_error(answer.body)[1])
        return batch

    # ---------------------------------------------------------------- answers

    def _settle(self, batch: list[_Read], documents: list[dict[str, Any]]) -> list[_Read]:
        again = []
        for read, document in zip(batch, documents, strict=True):
            if document.get("found"):
                version = Version(document["_seq_no"], document["_primary_term"])
                read.succeed(Found(document["_source"], version))
            elif "error" not in document:
                read.succeed(None)
            else:
                error_type, reason = error_of(document)
                if error_type != "index_not_found_exception":
                    again.append(read)
                    continue
                read.fail(self._condition.refused(read.index, 404, error_type, reason))
                continue
            self._condition.took(document["_index"])
        return again

    def _settle_refused(self, batch: list[_Read], answer: Answer) -> list[_Read]:
        """Deal with a request that was refused as a whole."""
        error_type, reason = read_error(answer.body)
        if judge(answer.status, error_type) is not Verdict.GIVE_UP:
            return batch
        error = self._condition.refused("", answer.status, error_type, reason)
        for read in batch:
            read.fail(error)
        return []

    async def _try_again(self, reads: list[_Read]) -> None:
        """Wait, in the slot of the request that failed, and let them queue up again."""
        if not reads:
            return
        longest = min(_FIRST_PAUSE * (1 << min(reads[0].tries, 10)), _LONGEST_PAUSE)
        for read in reads:
            read.tries += 1
        await self._clock.sleep(longest * self._random.uniform(0.5, 1.0))
        self._waiting.extendleft(reversed(reads))


def _documents(body: bytes, count: int) -> list[dict[str, Any]] | None:
    """The documents of an answer to `count` questions, if it is one."""
    try:
        documents = orjson.loads(body)["docs"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return documents if isinstance(documents, list) and len(documents) == count else None
