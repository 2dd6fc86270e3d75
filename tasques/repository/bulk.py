"""The coalescing writer: many single writes, few `_bulk` requests.

There is no timer. While fewer requests than allowed are under way, whatever waits is sent at
once; what arrives meanwhile goes together into the next one. So an idle server does not wait,
and a busy one batches by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreUnavailableError,
)
from tasques.domain.ports import Clock, Lane
from tasques.domain.task import Version
from tasques.repository.condition import Condition
from tasques.repository.connection import NDJSON, Answer, Connection, NoAnswerError, NotSentError
from tasques.repository.lanes import Lanes
from tasques.repository.pending import Pending
from tasques.repository.verdict import Verdict, error_of, judge, read_error, read_results
from tasques.repository.writes import (
    UNOBSERVED,
    BulkObserver,
    MayWrite,
    OutcomeUnknownError,
    Submission,
    Write,
    WriteConflictError,
    WriteLimits,
)

__all__ = ["BulkWriter", "OutcomeUnknownError", "WriteConflictError", "WriteLimits"]

# By default a shard without a primary would hold up every item of a request for a minute.
_TARGET: Final = "/_bulk?require_alias=true&timeout=2s"
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_SHORTEST_TIMEOUT: Final = 0.05
# Of the bound on what waits, so that workers' answers still get in when new tasks do not.
_PART_FOR: Final = {Lane.ACKNOWLEDGE: 1.0, Lane.CLAIM: 0.9, Lane.CREATE: 0.8}


class BulkWriter:
    """Sends writes to Elasticsearch, several callers' in one request."""

    def __init__(
        self,
        connection: Connection,
        *,
        limits: WriteLimits,
        clock: Clock,
        random: Random,
        observer: BulkObserver = UNOBSERVED,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._clock = clock
        self._random = random
        self._observer = observer
        self._lanes = Lanes(limits.max_operations, limits.max_bytes)
        self._condition = Condition("writes", clock)
        self._tasks = BackgroundTasks()
        self._pending: Pending[Submission] = Pending(clock, self._tasks, name="bulk deadlines")
        self._pending_operations = 0
        self._pending_bytes = 0
        self._in_flight = 0
        self._is_woken = False
        self._is_closing = False
        self._is_closed = False
        self._holds = 0  # of new tasks

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
        (outcome,) = await self.submit_all(lane, (body,))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def submit_all(
        self, lane: Lane, bodies: Sequence[bytes], *, may_write: MayWrite | None = None
    ) -> list[Version | Exception]:
        """Have several operations executed; for each what `submit` would return or raise.

        `may_write` is asked before each try; what was not executed by then is a `NotLeadingError`.
        """
        if self._is_closing:
            return [ShuttingDownError("The server is about to stop.") for _ in bodies]
        submission = self._accept(lane, bodies, may_write)
        try:
            if submission.writes:
                await submission.all_over
        finally:
            outcomes = self._release(submission)
        return outcomes + [
            OverloadedError("Too many writes wait for Elasticsearch.")
            for _ in range(len(bodies) - len(outcomes))
        ]

    async def close(self, seconds: float) -> None:
        """Finish what was submitted, within that many seconds; what is left is not sent."""
        self._is_closing = True
        until = self._clock.monotonic() + seconds
        try:
            while self._pending and self._clock.monotonic() < until:
                await self._clock.sleep(0.01)
        finally:
            self._is_closed = True
            for submission in self._pending:
                submission.break_off(ShuttingDownError("The server is about to stop."))
            await self._tasks.drain(0)

    def _accept(
        self, lane: Lane, bodies: Sequence[bytes], may_write: MayWrite | None
    ) -> Submission:
        """Let as many operations wait as there is room for."""
        submission = Submission(
            self._clock.monotonic() + self._limits.deadline,
            asyncio.get_running_loop().create_future(),
            may_write,
        )
        most_operations = self._limits.max_pending_operations * _PART_FOR[lane]
        most_bytes = self._limits.max_pending_bytes * _PART_FOR[lane]
        for body in bodies:
            if self._pending_operations >= most_operations or self._pending_bytes >= most_bytes:
                break
            self._pending_operations += 1
            self._pending_bytes += len(body)
            self._lanes.add(submission.add(lane, body))
        if submission.writes:
            self._pending.add(submission)
            self._wake()
        return submission

    def _release(self, submission: Submission) -> list[Version | Exception]:
        if submission.writes:
            self._pending.remove(submission)
        self._pending_operations -= len(submission.writes)
        self._pending_bytes -= sum([len(write.body) for write in submission.writes])
        return submission.release()

    # ---------------------------------------------------------------- sending

    def _wake(self) -> None:
        # Not at once: what else this turn of the event loop brings shall go along.
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        self._is_woken = False
        while not self._is_closed and (free := self._limits.max_in_flight - self._in_flight) > 0:
            batch = self._lanes.take(free, with_creates=not self._holds)
            if not batch:
                return
            self._in_flight += 1
            self._tasks.start(self._run(batch), name="bulk")

    async def _run(self, batch: list[Write]) -> None:
        try:
            await self._send(batch)
        except BaseException:
            for write in batch:
                write.break_off(StoreUnavailableError("The write was broken off."))
            raise
        finally:
            self._in_flight -= 1
            self._wake()

    async def _send(self, batch: list[Write]) -> None:
        batch = [write for write in batch if write.is_wanted()]
        if not batch:
            return
        for write in batch:
            write.is_sent = True
        begun = self._clock.monotonic()
        time_left = max(write.deadline for write in batch) - begun
        try:
            answer = await self._connection.request(
                "POST",
                _TARGET,
                b"".join([write.body for write in batch]),
                timeout=max(_SHORTEST_TIMEOUT, min(self._limits.request_timeout, time_left)),
                content_type=NDJSON,
            )
        except NoAnswerError as error:
            self._note_answer(batch, None, begun)
            self._observer.settled(Verdict.TRY_AGAIN_UNSURE, len(batch))
            self._try_again(batch, is_unsure=not isinstance(error, NotSentError))
            return
        self._note_answer(batch, answer.status, begun)
        if answer.status != 200:
            await self._settle_refused(batch, answer)
        elif (results := read_results(answer.body, len(batch))) is not None:
            self._settle(batch, results[0], has_errors=results[1])
        else:
            # Not from Elasticsearch, whatever it is.
            self._condition.refused("", answer.status, None, read_error(answer.body)[1])
            self._observer.settled(Verdict.TRY_AGAIN_UNSURE, len(batch))
            self._try_again(batch, is_unsure=True)

    def _note_answer(self, batch: list[Write], status: int | None, begun: float) -> None:
        seconds = self._clock.monotonic() - begun
        repeated = sum(write.tries > 0 for write in batch)
        self._observer.answered(status, seconds, operations=len(batch), repeated=repeated)

    # ---------------------------------------------------------------- answers

    def _settle(
        self, batch: list[Write], results: list[dict[str, Any]], *, has_errors: bool
    ) -> None:
        if not has_errors:
            self._note_acceptance(batch)
            self._observer.settled(Verdict.DONE, len(batch))
            for write, result in zip(batch, results, strict=True):
                self._succeed(write, result)
            return
        rejected: list[Write] = []
        unsure: list[Write] = []
        rejected_because = ""
        for write, result in zip(batch, results, strict=True):
            status = result["status"]
            error_type, reason = error_of(result)
            verdict = judge(status, error_type)
            self._observer.settled(verdict, 1)
            match verdict:
                case Verdict.DONE:
                    self._succeed(write, result)
                case Verdict.CONFLICT:
                    write.fail(WriteConflictError())
                case Verdict.TRY_AGAIN:
                    rejected.append(write)
                    rejected_because = reason
                case Verdict.TRY_AGAIN_UNSURE:
                    unsure.append(write)
                case Verdict.GIVE_UP:
                    index = result.get("_index", "")
                    write.refuse(self._condition.refused(index, status, error_type, reason))
        if rejected:
            self._note_rejection(rejected_because)
        else:
            self._note_acceptance(batch)
        self._try_again(rejected, is_unsure=False)
        self._try_again(unsure, is_unsure=True)

    async def _settle_refused(self, batch: list[Write], answer: Answer) -> None:
        """Deal with a request that was refused as a whole."""
        error_type, reason = read_error(answer.body)
        verdict = judge(answer.status, error_type)
        may_be_one_culprit = answer.status in (400, 413)
        if verdict is Verdict.TRY_AGAIN:
            self._note_rejection(reason)
            # One over a tenth of Elasticsearch's heap is answered 429 however often it is sent.
            may_be_one_culprit = any(write.tries for write in batch)
        if may_be_one_culprit and len(batch) > 1:
            await self._send_in_halves(batch, pausing=verdict is Verdict.TRY_AGAIN)
            return
        self._observer.settled(verdict, len(batch))
        if verdict is Verdict.GIVE_UP:
            error = self._condition.refused("", answer.status, error_type, reason)
            for write in batch:
                write.refuse(error)
        else:
            self._try_again(batch, is_unsure=verdict is not Verdict.TRY_AGAIN)

    async def _send_in_halves(self, batch: list[Write], *, pausing: bool) -> None:
        """Send both halves, in the slot of the whole."""
        for write in batch:
            write.is_sent = False
            write.tries += 1
        if pausing:
            await self._clock.sleep(self._pause(max(write.tries for write in batch)))
        middle = len(batch) // 2
        await self._send(batch[:middle])
        await self._send(batch[middle:])

    def _try_again(self, writes: list[Write], *, is_unsure: bool) -> None:
        if not writes:
            return
        pause = self._pause(max(write.tries for write in writes))
        again_at = self._clock.monotonic() + pause
        for write in writes:
            write.tries += 1
            write.is_sent = False
            write.is_unsure |= is_unsure
            if again_at >= write.deadline:
                write.end()
        if again := [write for write in writes if not write.is_over]:
            self._tasks.start(self._add_after(pause, again), name="bulk retry")

    async def _add_after(self, pause: float, writes: list[Write]) -> None:
        await self._clock.sleep(pause)
        self._lanes.add_first(writes)
        self._wake()

    def _pause(self, tries: int) -> float:
        longest = min(_FIRST_PAUSE * (1 << min(tries, 10)), _LONGEST_PAUSE)
        return longest * self._random.uniform(0.5, 1.0)

    def _succeed(self, write: Write, result: dict[str, Any]) -> None:
        self._condition.took(result["_index"])
        write.succeed(Version(result["_seq_no"], result["_primary_term"]))

    # ---------------------------------------------------------------- holding new tasks back

    def _note_rejection(self, reason: str) -> None:
        pause = self._pause(self._condition.rejections)
        self._condition.rejected(reason)
        self._holds += 1
        self._tasks.start(self._end_hold_after(pause), name="bulk creates resume")

    def _note_acceptance(self, batch: list[Write]) -> None:
        if not self._condition.is_good:
            with_creates = any(write.lane is Lane.CREATE for write in batch)
            self._condition.not_rejected(proves_it=with_creates)

    async def _end_hold_after(self, pause: float) -> None:
        await self._clock.sleep(pause)
        self._holds -= 1
        self._wake()
