"""One run of a worker: claims sized to the free slots, attempts side by side, an orderly end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from tasques.client import AsyncClient, Task, TasquesError
from tasques.clock import SystemClock
from tasques.worker.attempts import LOST, Attempt
from tasques.worker.failures import failure_of
from tasques.worker.handlers import Ending, Handlers
from tasques.worker.results import Ended, Results
from tasques.worker.tracing import traced

log = logging.getLogger(__name__)

_MOST_CLAIMED: Final = 1000
_LOOK_ONCE: Final = timedelta(0)
_CLAIM_GRACE: Final = 0.3  # an answer that is under way at a stop brings tasks
_CANCEL_GRACE: Final = 10.0  # for handlers to clean up, and tasks to be given back
_LAST_WORDS: Final = 5.0  # for results at the end
_UNCLAIM_PAUSE: Final = 1.0  # else a task that is refused would come back in milliseconds
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_MOST_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a worker is to do; see `Worker`."""

    queues: Sequence[str]
    concurrency: int
    worker_id: str
    block_for: timedelta
    stop_timeout: timedelta


class Work:
    """One run. `stop` may be called at any time, on the loop."""

    def __init__(self, plan: Plan, client: AsyncClient, handlers: Handlers) -> None:
        self._plan = plan
        self._client = client
        self._handlers = handlers
        self._clock = SystemClock()
        self._random = Random()  # noqa: S311 - pauses are no secrets
        self._results = Results(client, self._clock, self._random, on_settled=self._note_change)
        self._running: set[Attempt] = set()
        self._latest: dict[tuple[str, str], Attempt] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def stop(self) -> None:
        """Claim no more and end; at the second call without waiting for running tasks."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()
        self._changed.set()

    async def run(self, *, until_empty: bool) -> None:
        """Work until told to stop, or until nothing is left to do."""
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(self._results.run(), name="tasques-results")
            await self._claim_and_start(group, until_empty=until_empty)
            self._stopping.set()
            await self._finish_running()
            await self._deliver_results()
            sender.cancel()

    # ---------------------------------------------------------------- claiming

    async def _claim_and_start(self, group: asyncio.TaskGroup, *, until_empty: bool) -> None:
        block_for = _LOOK_ONCE if until_empty else self._plan.block_for
        failures = 0
        while free := await self._free_slots():
            try:
                claimed = await self._claim(free, block_for)
            except TasquesError as error:
                failures += 1
                log.warning("claim failed", extra={"reason": str(error), "failures": failures})
                await self._pause(self._pause_after(failures))
                continue
            failures = 0
            for task in claimed:
                self._start(task, group)
            if until_empty and not claimed:
                if not self._running and not len(self._results):
                    return
                self._changed.clear()
                await self._changed.wait()

    async def _free_slots(self) -> int:
        """How many tasks may be claimed, once there may be one; none when it is time to stop."""
        while not self._stopping.is_set():
            free = self._plan.concurrency - len(self._running)
            if free > 0 and len(self._results) < _MOST_CLAIMED:
                return min(free, _MOST_CLAIMED)
            self._changed.clear()
            await self._changed.wait()
        return 0

    async def _claim(self, amount: int, block_for: timedelta) -> list[Task]:
        """Claim tasks; after a stop only what is under way already."""
        loop = asyncio.get_running_loop()
        plan = self._plan
        claim = loop.create_task(
            self._client.claim(
                plan.queues, worker_id=plan.worker_id, amount=amount, block_for=block_for
            )
        )
        stop = loop.create_task(self._stopping.wait())
        try:
            await asyncio.wait({claim, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not claim.done():
                await asyncio.wait({claim}, timeout=_CLAIM_GRACE)
            return claim.result() if claim.done() else []
        finally:
            stop.cancel()
            claim.cancel()

    def _pause_after(self, failures: int) -> float:
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(failures, _MOST_DOUBLINGS)))
        return self._random.uniform(0.0, longest)

    async def _pause(self, seconds: float) -> None:
        """Wait that long, unless it is time to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _note_change(self) -> None:
        self._changed.set()

    # ---------------------------------------------------------------- working

    def _start(self, task: Task, group: asyncio.TaskGroup) -> None:
        in_thread = self._handlers.runs_in_thread(task.kind)
        attempt = Attempt(task, self._client, can_be_cancelled=not in_thread)
        before = self._latest.get(attempt.key)
        if before is not None:  # its time was over, and the task has come back to us
            before.lose()
        self._latest[attempt.key] = attempt
        self._running.add(attempt)
        attempt.runner = group.create_task(self._work_on(attempt), name="tasques-attempt")

    async def _work_on(self, attempt: Attempt) -> None:
        try:
            ending = await self._ending(attempt)
            attempt.end()
            await self._tell(attempt, ending)
        finally:
            attempt.end()
            self._running.discard(attempt)
            if self._latest.get(attempt.key) is attempt:
                del self._latest[attempt.key]
            self._changed.set()

    async def _ending(self, attempt: Attempt) -> Ending:
        with traced(attempt.task) as transaction:
            try:
                ending = await self._handlers.run(attempt.context)
            except asyncio.CancelledError as error:
                ending = _ending_of_cancelled(attempt, error)
            transaction.result, transaction.error = ending.outcome, ending.error
        attempt.traceparent = transaction.traceparent
        return ending

    async def _tell(self, attempt: Attempt, ending: Ending) -> None:
        if ending.error is not None:
            log.warning("task failed", exc_info=ending.error, extra=attempt.names)
        if attempt.is_lost:
            return
        if ending.outcome != "unclaimed":
            log.debug("task ended", extra=attempt.names | {"outcome": ending.outcome})
            self._results.put(Ended(attempt, ending.outcome, ending.data))
            return
        await self._unclaim(attempt)
        await self._pause(_UNCLAIM_PAUSE)

    async def _unclaim(self, attempt: Attempt) -> None:
        try:
            await self._client.unclaim(attempt.task)
        except LOST:
            log.info("claim was gone already", extra=attempt.names)
        except TasquesError as error:
            log.warning("unclaim failed", extra=attempt.names | {"reason": str(error)})
        else:
            log.info("task given back", extra=attempt.names)

    # ---------------------------------------------------------------- the end

    async def _finish_running(self) -> None:
        """Wait for running tasks within the limit; give back those that take longer."""
        runners = {each.runner for each in self._running if each.runner is not None}
        if not runners:
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_task(asyncio.wait(runners))
        hurry = loop.create_task(self._hurrying.wait())
        limit = self._plan.stop_timeout.total_seconds()
        await asyncio.wait({ended, hurry}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for attempt in self._running:
            attempt.cut_off()
        await asyncio.wait({ended}, timeout=_CANCEL_GRACE)
        ended.cancel()

    async def _deliver_results(self) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self._results.all_gone()
        except TimeoutError:
            log.error("results not delivered", extra={"count": len(self._results)})  # noqa: TRY400 - the time-out tells nothing more


def _ending_of_cancelled(attempt: Attempt, error: asyncio.CancelledError) -> Ending:
    """Who has cancelled: this worker the attempt, somebody this worker, or the handler itself."""
    runner = asyncio.current_task()
    if runner is None or not runner.cancelling():
        return Ending("failed", failure_of(error), error)
    if runner.uncancel() or not (attempt.is_lost or attempt.is_cut_off):
        raise error
    return Ending("unclaimed")
