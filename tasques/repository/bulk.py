"""The coalescing writer: many single writes, few `_bulk` requests.

There is no timer. While fewer requests than allowed are under way, whatever waits is sent at
once; what arrives meanwhile goes together into the next one. So an idle server does not wait,
and a busy one batches by itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreUnavailableError,
)
from tasques.domain.ports import Clock, Lane
from tasques.domain.task import Version
from tasques.repository.connection import NDJSON, Answer, Connection, NoAnswerError
from tasques.repository.lanes import Lanes, Write
from tasques.repository.verdict import Verdict, error_of, final_error, judge

log = logging.getLogger(__name__)

# By default a shard without a primary would hold up every item of a request for a minute.
_TARGET: Final = "/_bulk?require_alias=true&timeout=2s"
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_SHORTEST_TIMEOUT: Final = 0.05
# Of the bound on what waits, so that workers' answers still get in when new tasks do not.
_PART_FOR: Final = {Lane.ACKNOWLEDGE: 1.0, Lane.CLAIM: 0.9, Lane.CREATE: 0.8}


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


class BulkWriter:
    """Sends writes to Elasticsearch, several callers' in one request."""

    def __init__(
        self, connection: Connection, *, limits: WriteLimits, clock: Clock, random: Random
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._clock = clock
        self._random = random
        self._lanes = Lanes(limits.max_operations, limits.max_bytes)
        self._tasks = BackgroundTasks()
        self._in_flight = 0
        self._pending_operations = 0
        self._pending_bytes = 0
        self._is_woken = False
        self._is_closing = False
        self._rejections = 0
        self._creates_paused_until = 0.0

    async def submit(self, lane: Lane, body: bytes) -> Version:
        """Have one operation executed; return when it has been answered.

        Args:
            lane: how urgent it is.
            body: its action and document, as lines of NDJSON.

        Returns:
            The version that the write produced.

        Raises:
            WriteConflictError: the document is not as the action demands, or it was executed by
                an earlier try. Only a read can tell.
            OutcomeUnknownError: it was tried until its deadline, and may have been executed.
            UnavailableError: it was not executed.
            StoreRejectedError, TooLargeError: it was not executed and never will be.
        """
        self._admit(lane, len(body))
        write = Write(
            lane,
            body,
            self._clock.monotonic() + self._limits.deadline,
            asyncio.get_running_loop().create_future(),
        )
        self._lanes.add(write)
        self._wake()
        return await write.answer

    async def close(self, seconds: float) -> None:
        """Finish what was submitted, within that many seconds; what is left is unknown."""
        self._is_closing = True
        until = self._clock.monotonic() + seconds
        while self._pending_operations and self._clock.monotonic() < until:
            await self._clock.sleep(0.01)
        await self._tasks.drain(0)
        for write in self._lanes.take_all():
            self._fail(write, self._too_late(write))

    # ---------------------------------------------------------------- admission and sending

    def _admit(self, lane: Lane, size: int) -> None:
        if self._is_closing:
            raise ShuttingDownError("The server is about to stop.")
        part = _PART_FOR[lane]
        if (
            self._pending_operations >= self._limits.max_pending_operations * part
            or self._pending_bytes >= self._limits.max_pending_bytes * part
        ):
            raise OverloadedError("Too many writes wait for Elasticsearch.")
        self._pending_operations += 1
        self._pending_bytes += size

    def _wake(self) -> None:
        # Not at once: what else this turn of the event loop brings shall go along.
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        self._is_woken = False
        with_creates = self._clock.monotonic() >= self._creates_paused_until
        while (free := self._limits.max_in_flight - self._in_flight) > 0:
            batch = self._lanes.take(free, with_creates=with_creates)
            if not batch:
                return
            self._in_flight += 1
            self._tasks.start(self._run(batch), name="bulk")

    async def _run(self, batch: list[Write]) -> None:
        try:
            now = self._clock.monotonic()
            timely = [write for write in batch if write.deadline > now]
            for write in batch:
                if write.deadline <= now:
                    self._fail(write, self._too_late(write))
            if timely:
                await self._send(timely)
        except asyncio.CancelledError:
            for write in batch:
                self._fail(write, OutcomeUnknownError())
            raise
        finally:
            self._in_flight -= 1
            self._wake()

    async def _send(self, batch: list[Write]) -> None:
        body = b"".join([write.body for write in batch])
        time_left = max(write.deadline for write in batch) - self._clock.monotonic()
        try:
            answer = await self._connection.request(
                "POST",
                _TARGET,
                body,
                timeout=max(_SHORTEST_TIMEOUT, min(self._limits.request_timeout, time_left)),
                content_type=NDJSON,
            )
        except NoAnswerError:
            self._try_again(batch, is_unsure=True)
            return
        if answer.status == 200:
            self._settle_items(batch, orjson.loads(answer.body))
        else:
            await self._settle_refused(batch, answer)

    # ---------------------------------------------------------------- answers

    def _settle_items(self, batch: list[Write], answer: dict[str, Any]) -> None:
        if not answer["errors"]:
            self._note_rejections(0)
            for write, item in zip(batch, answer["items"], strict=True):
                self._succeed(write, *item.values())
            return
        rejected: list[Write] = []
        unsure: list[Write] = []
        for write, item in zip(batch, answer["items"], strict=True):
            (result,) = item.values()
            error_type, reason = error_of(result)
            match judge(result["status"], error_type):
                case Verdict.DONE:
                    self._succeed(write, result)
                case Verdict.CONFLICT:
                    self._fail(write, WriteConflictError())
                case Verdict.TRY_AGAIN:
                    rejected.append(write)
                case Verdict.TRY_AGAIN_UNSURE:
                    unsure.append(write)
                case Verdict.GIVE_UP:
                    self._fail(write, final_error(result["status"], error_type, reason))
        self._note_rejections(len(rejected))
        self._try_again(rejected, is_unsure=False)
        self._try_again(unsure, is_unsure=True)

    async def _settle_refused(self, batch: list[Write], answer: Answer) -> None:
        """Deal with a request that was refused as a whole."""
        error_type, reason = _read_error(answer)
        verdict = judge(answer.status, error_type)
        if verdict is Verdict.TRY_AGAIN:
            self._note_rejections(len(batch))
        if verdict is Verdict.TRY_AGAIN_UNSURE:
            self._try_again(batch, is_unsure=True)
        elif len(batch) > 1 and _may_be_one_culprit(verdict, answer.status, batch):
            middle = len(batch) // 2
            await self._send(batch[:middle])
            await self._send(batch[middle:])
        elif verdict is Verdict.TRY_AGAIN:
            self._try_again(batch, is_unsure=False)
        else:
            error = final_error(answer.status, error_type, reason)
            for write in batch:
                self._fail(write, error)

    def _try_again(self, writes: list[Write], *, is_unsure: bool) -> None:
        if not writes:
            return
        pause = self._pause(max(write.tries for write in writes))
        again_at = self._clock.monotonic() + pause
        again = []
        for write in writes:
            write.tries += 1
            write.is_unsure |= is_unsure
            if again_at < write.deadline and not write.answer.done():
                again.append(write)
            else:
                self._fail(write, self._too_late(write))
        if again:
            self._tasks.start(self._add_after(pause, again), name="bulk retry")

    async def _add_after(self, pause: float, writes: list[Write]) -> None:
        try:
            await self._clock.sleep(pause)
        except asyncio.CancelledError:
            for write in writes:
                self._fail(write, self._too_late(write))
            raise
        self._lanes.add_first(writes)
        self._wake()

    def _pause(self, tries: int) -> float:
        longest = min(_FIRST_PAUSE * (1 << min(tries, 10)), _LONGEST_PAUSE)
        return longest * self._random.uniform(0.5, 1.0)

    def _too_late(self, write: Write) -> Exception:
        if write.is_unsure:
            return OutcomeUnknownError()
        if write.tries:
            return StoreUnavailableError("Elasticsearch refuses writes: it has too much to do.")
        return OverloadedError("Elasticsearch did not take the write in time.")

    # ---------------------------------------------------------------- settling

    def _succeed(self, write: Write, result: dict[str, Any]) -> None:
        self._leave(write)
        if not write.answer.done():
            write.answer.set_result(Version(result["_seq_no"], result["_primary_term"]))

    def _fail(self, write: Write, error: Exception) -> None:
        if write.is_settled:
            return
        self._leave(write)
        if not write.answer.done():
            write.answer.set_exception(error)

    def _leave(self, write: Write) -> None:
        write.is_settled = True
        self._pending_operations -= 1
        self._pending_bytes -= len(write.body)

    def _note_rejections(self, rejected: int) -> None:
        """Hold new tasks back while Elasticsearch rejects; log when that begins and ends."""
        if not rejected:
            if self._rejections:
                log.info("Elasticsearch takes writes again")
            self._rejections = 0
            return
        if not self._rejections:
            log.warning(
                "Elasticsearch rejects writes: new tasks wait", extra={"rejected": rejected}
            )
        pause = self._pause(self._rejections)
        self._rejections += 1
        self._creates_paused_until = self._clock.monotonic() + pause
        self._tasks.start(self._wake_after(pause), name="bulk creates resume")

    async def _wake_after(self, pause: float) -> None:
        await self._clock.sleep(pause)
        self._wake()


def _read_error(answer: Answer) -> tuple[str | None, str]:
    try:
        return error_of(orjson.loads(answer.body))
    except (orjson.JSONDecodeError, AttributeError):
        return None, answer.body[:500].decode(errors="replace")


def _may_be_one_culprit(verdict: Verdict, status: int, batch: list[Write]) -> bool:
    """Whether a part of the batch might be taken where the whole was not.

    A request over a tenth of Elasticsearch's heap is answered 429 however often it is sent.
    """
    if verdict is Verdict.TRY_AGAIN:
        return any(write.tries for write in batch)
    return status in (400, 413)
