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
from tasques.domain.errors import OverloadedError, StoreUnavailableError
from tasques.domain.ports import Clock
from tasques.domain.task import Version
from tasques.repository.connection import Answer, Connection, NoAnswerError
from tasques.repository.verdict import Verdict, error_of, final_error, judge

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
        self._waiting: deque[_Read] = deque()
        self._tasks = BackgroundTasks()
        self._pending = 0
        self._in_flight = 0
        self._is_woken = False

    async def get(self, index: str, document_id: str) -> Found | None:
        """The document, or None if there is none.

        Raises:
            UnavailableError: there is no answer in time.
        """
        if self._pending >= self._max_pending:
            raise OverloadedError("Too many reads wait for Elasticsearch.")
        read = _Read(
            index,
            document_id,
            self._clock.monotonic() + self._deadline,
            asyncio.get_running_loop().create_future(),
        )
        self._pending += 1
        self._waiting.append(read)
        self._wake()
        try:
            return await read.answer
        finally:
            self._pending -= 1

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.drain(0)

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        self._is_woken = False
        while self._waiting and self._in_flight < _MAX_IN_FLIGHT:
            batch = [
                self._waiting.popleft() for _ in range(min(_MAX_DOCUMENTS, len(self._waiting)))
            ]
            self._in_flight += 1
            self._tasks.start(self._run(batch), name="mget")

    async def _run(self, batch: list[_Read]) -> None:
        try:
            answer = await self._ask(batch)
            if answer is None or answer.status != 200:
                await self._settle_refused(batch, answer)
            else:
                await self._settle(batch, orjson.loads(answer.body)["docs"])
        finally:
            self._in_flight -= 1
            self._wake()

    async def _ask(self, batch: list[_Read]) -> Answer | None:
        documents = [{"_index": read.index, "_id": read.document_id} for read in batch]
        time_left = max(read.deadline for read in batch) - self._clock.monotonic()
        try:
            return await self._connection.request(
                "POST",
                "/_mget",
                orjson.dumps({"docs": documents}),
                timeout=max(_SHORTEST_TIMEOUT, min(self._request_timeout, time_left)),
            )
        except NoAnswerError:
            return None

    async def _settle(self, batch: list[_Read], documents: list[dict[str, Any]]) -> None:
        again = []
        for read, document in zip(batch, documents, strict=True):
            if document.get("found"):
                version = Version(document["_seq_no"], document["_primary_term"])
                _answer(read, Found(document["_source"], version))
            elif "error" not in document:
                _answer(read, None)
            elif (error_type := error_of(document)[0]) == "index_not_found_exception":
                _refuse(read, final_error(404, error_type, error_of(document)[1]))
            else:
                again.append(read)
        await self._try_again(again)

    async def _settle_refused(self, batch: list[_Read], answer: Answer | None) -> None:
        """Deal with a request that was refused as a whole, or not answered."""
        if answer is not None:
            error_type, reason = error_of(orjson.loads(answer.body))
            if judge(answer.status, error_type) is Verdict.GIVE_UP:
                error = final_error(answer.status, error_type, reason)
                for read in batch:
                    _refuse(read, error)
                return
        await self._try_again(batch)

    async def _try_again(self, reads: list[_Read]) -> None:
        """Wait, in the slot of the request that failed, and let them queue up again."""
        if not reads:
            return
        tries = min(max(read.tries for read in reads), 10)
        longest = min(_FIRST_PAUSE * (1 << tries), _LONGEST_PAUSE)
        pause = longest * self._random.uniform(0.5, 1.0)
        again_at = self._clock.monotonic() + pause
        for read in reads:
            read.tries += 1
            if again_at >= read.deadline:
                _refuse(read, StoreUnavailableError("Elasticsearch does not answer."))
        await self._clock.sleep(pause)
        self._waiting.extendleft(read for read in reversed(reads) if not read.answer.done())


def _answer(read: _Read, found: Found | None) -> None:
    if not read.answer.done():
        read.answer.set_result(found)


def _refuse(read: _Read, error: Exception) -> None:
    if not read.answer.done():
        read.answer.set_exception(error)
