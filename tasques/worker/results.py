"""Tells the server how attempts ended: whatever waits goes in one request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal

from tasques.client import (
    AsyncClient,
    BatchError,
    InvalidRequestError,
    JsonObject,
    Task,
    TaskResult,
    TasquesError,
)
from tasques.clock import SystemClock
from tasques.worker.attempts import LOST, Attempt
from tasques.worker.failures import failure_of

log = logging.getLogger(__name__)

_SENDERS: Final = 2  # so that one request that has to be repeated does not hold up all others
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_MOST_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended."""

    attempt: Attempt
    outcome: Literal["done", "failed"]
    data: JsonObject | None

    def for_client(self) -> TaskResult:
        """As clients send it."""
        task = replace(self.attempt.task, traceparent=self.attempt.traceparent)
        return TaskResult(task, self.outcome, self.data)


class Results:
    """Sends results until the server has them, or does not want them any more."""

    def __init__(
        self,
        client: AsyncClient,
        clock: SystemClock,
        random: Random,
        *,
        on_settled: Callable[[], None],
    ) -> None:
        self._client = client
        self._on_settled = on_settled
        self._clock = clock
        self._random = random
        self._waiting: list[Ended] = []
        self._in_flight = 0
        self._are_there = asyncio.Event()
        self._are_gone = asyncio.Event()
        self._are_gone.set()

    def __len__(self) -> int:
        return len(self._waiting) + self._in_flight

    def put(self, ended: Ended) -> None:
        """Have a result sent."""
        self._waiting.append(ended)
        self._are_there.set()
        self._are_gone.clear()

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(self._send_for_ever(), name="tasques-results")

    async def all_gone(self) -> None:
        """Return when nothing waits any more."""
        await self._are_gone.wait()

    async def _send_for_ever(self) -> None:
        failures = 0
        while True:
            await self._are_there.wait()
            batch, self._waiting = self._waiting, []
            self._are_there.clear()
            if not batch:  # the other one was faster
                continue
            self._in_flight += len(batch)
            left = [each for each in await self._send(batch) if each is not None]
            self._in_flight -= len(batch)
            if left:
                failures += 1
                self._waiting.extend(left)
                await self._clock.sleep(self._pause(failures))
                self._are_there.set()
            else:
                failures = 0
            self._on_settled()
            if not len(self):
                self._are_gone.set()

    def _pause(self, failures: int) -> float:
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(failures, _MOST_DOUBLINGS)))
        return self._random.uniform(0.0, longest)

    async def _send(self, batch: Sequence[Ended]) -> list[Ended | None]:
        """What has to be sent again, if anything, in place of each."""
        outcomes: Sequence[Task | TasquesError]
        try:
            outcomes = await self._client.finish_many(each.for_client() for each in batch)
        except BatchError as error:
            outcomes = error.outcomes
        return [_left(each, outcome) for each, outcome in zip(batch, outcomes, strict=True)]


def _left(ended: Ended, outcome: Task | TasquesError) -> Ended | None:
    if not isinstance(outcome, TasquesError):
        return None
    names = ended.attempt.names | {"outcome": ended.outcome, "reason": str(outcome)}
    if isinstance(outcome, LOST):
        log.warning("result came too late", extra=names)
        return None
    if not isinstance(outcome, InvalidRequestError):
        log.warning("result not delivered yet", extra=names)
        return ended
    log.error("result refused", extra=names)
    if ended.outcome == "done":  # else the task would be silent until its time is over
        return Ended(ended.attempt, "failed", failure_of(outcome))
    return Ended(ended.attempt, "failed", None) if ended.data is not None else None
