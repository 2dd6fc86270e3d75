"""The claim broker: hands due tasks to the workers that wait for them.

Claims do not search, they wait here. One search serves all that wait for the same queues, and one
request carries the searches of all sets of queues. What was found is dealt first come first
served, each dealt task is claimed by a conditional write at once, and losers of a race are dealt
the next one. A claim is answered as soon as it has something and nothing more is at hand.

A task that becomes claimable in this process is offered to the broker, which can deal it without
a search; but only to claims whose queues were searched a moment ago, so that nothing that waited
longer is overtaken. A new task is stored in the hands of such a claim from the start: one write
instead of two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import count
from typing import Final

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreUnavailableError,
)
from tasques.domain.ports import Candidate, Clock, TaskRepository
from tasques.domain.task import Task
from tasques.services.broker_limits import BrokerLimits
from tasques.services.candidates import CandidateBuffer, GoneVersions
from tasques.services.claiming import Claiming, ClaimOutcome
from tasques.services.giving_back import Claimed, GivingBack
from tasques.services.last_seen import LastSeen
from tasques.services.ready_list import ReadyList
from tasques.services.searches import Searches
from tasques.services.slots import Slots
from tasques.services.supply import Supply
from tasques.services.waiting import QueueSet, Waiter
from tasques.services.waiting_room import WaitingRoom

_GRACE_SECONDS: Final = 2.0
DEALT_AT_A_TURN: Final = 50
"""Tasks that one set of queues is dealt before it is the turn of the next one."""


class ClaimBroker:
    """Serves claims; one for each process. `run` must be running for anything to be found."""

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        last_seen: LastSeen,
        clock: Clock,
        new_claim_id: Callable[[], str],
        giving_back: GivingBack,
        background: BackgroundTasks,
        slots: Slots,
        limits: BrokerLimits,
    ) -> None:
        self._tasks = tasks
        self._last_seen = last_seen
        self._clock = clock
        self._background = background
        self._limits = limits
        gone = GoneVersions(limits.max_gone)
        self._ready = ReadyList(
            max_tasks=limits.max_ready,
            max_bytes=limits.max_ready_bytes,
            seconds=limits.ready_seconds,
            gone=gone,
            slots=slots,
        )
        self._claiming = Claiming(
            tasks=tasks,
            gone=gone,
            clock=clock,
            new_claim_id=new_claim_id,
            giving_back=giving_back,
            offer_again=self._offer_again,
        )
        self._room = WaitingRoom(
            max_sets=limits.max_queue_sets,
            new_buffer=lambda: CandidateBuffer(slots, gone),
        )
        self._to_deal: dict[QueueSet, None] = {}
        self._is_dealing_soon = False
        self._in_flight = 0
        self._numbers = count()
        self._is_closing = False
        self._searches = Searches(
            tasks=tasks,
            queue_sets=self._room.sets,
            on_found=self._take_found,
            slots=slots,
            clock=clock,
            limits=limits,
        )
        self._supply = Supply(ready=self._ready, gone=gone, search=self._searches.wake)

    # ---------------------------------------------------------------- for callers

    async def claim(
        self, *, worker_id: str, queues: Iterable[str], amount: int, block_for: timedelta
    ) -> list[Claimed]:
        """Claim due tasks for a worker.

        Cancelling the caller undoes what was claimed for it.

        Args:
            worker_id: whom the tasks are for.
            queues: which queues to take from; none means all.
            amount: at most so many.
            block_for: how long to wait while there is nothing; at least one look is taken.

        Returns:
            At least one claimed task as soon as there is one, or nothing after `block_for`.

        Raises:
            UnavailableError: the store does not answer, too many claims wait already, or the
                server is about to stop.
        """
        if self._is_closing:
            raise ShuttingDownError("The server is about to stop.")
        if self._room.parked >= self._limits.max_parked:
            raise OverloadedError("Too many claims wait already.")
        if amount <= 0:
            return []
        loop = asyncio.get_running_loop()
        seconds = max(0.0, block_for.total_seconds())
        waiter = Waiter(
            number=next(self._numbers),
            worker_id=worker_id,
            amount=amount,
            arrived_at=self._clock.monotonic(),
            looks_once=seconds == 0,
            answer=loop.create_future(),
        )
        queue_set = self._enter(tuple(sorted(set(queues))), waiter)
        if waiter.looks_once:
            waiter.timer = loop.call_later(_GRACE_SECONDS, self._grace_over, queue_set, waiter)
        else:
            waiter.timer = loop.call_later(seconds, self._time_over, queue_set, waiter)
        try:
            return await waiter.answer
        except asyncio.CancelledError:
            self.give_back(waiter.claimed)
            raise
        finally:
            waiter.timer.cancel()
            self._room.leave(queue_set, waiter)

    def give_back(self, claimed: Iterable[Claimed]) -> None:
        """Undo claims whose answer can not be delivered, in the background."""
        for each in claimed:
            self._last_seen.forget(each.task.queue, each.task.id)
            self._claiming.give_back(each)

    async def create(self, task: Task) -> Task:
        """Store a new task: in the hands of one who waits for it, if nothing goes before it.

        Returns:
            The task as it was created, with the version of what was stored.

        Raises:
            TasquesError: as `TaskRepository.create`.
        """
        taker = self._find_taker(task)
        if taker is None:
            stored = await self._tasks.create(task)
            self.offer((stored,))
            return stored
        queue_set, waiter = taker
        waiter.in_flight += 1
        waiter.dealt_bytes += task.size
        self._in_flight += 1
        outcome = ClaimOutcome()
        try:
            created, outcome = await self._claiming.create(waiter.worker_id, task)
        finally:
            self._in_flight -= 1
            self._take(queue_set, waiter, (task,), outcome)
        return created

    def _find_taker(self, task: Task) -> tuple[QueueSet, Waiter] | None:
        """Who came first of those that a new task may go to."""
        if self._is_closing or self._in_flight >= self._limits.max_in_flight:
            return None
        now = self._clock.monotonic()
        first: tuple[QueueSet, Waiter] | None = None
        for queue_set in self._room.waiting_for(task.queue):
            waiter = queue_set.first_wanting()
            if (
                waiter is not None
                and (first is None or waiter.number < first[1].number)
                and self._supply.is_used_up(queue_set, now)
            ):
                first = queue_set, waiter
        if first is None or not task.is_due(self._clock.now()):
            return None
        return first

    def offer(self, tasks: Sequence[Task]) -> None:
        """Take note of tasks that have just become claimable in this process.

        An offer is no promise: if somebody else is faster, or it is not taken within seconds, it
        is simply dropped, and the task is found by searches.
        """
        now = self._clock.now()
        due = [task for task in tasks if task.is_due(now)]
        if self._is_closing or not due:
            return
        self._ready.add(due, self._clock.monotonic())
        for queue in {task.queue for task in due}:
            for queue_set in self._room.waiting_for(queue):
                self._deal_soon(queue_set)

    @property
    def parked(self) -> int:
        """How many claims wait."""
        return self._room.parked

    @property
    def is_active(self) -> bool:
        """Whether anybody has been asking for tasks lately, and may get some."""
        return not self._is_closing and (self._room.parked > 0 or self._searches.is_active)

    def close(self) -> None:
        """Answer all that wait with what they have, and take no more claims."""
        self._is_closing = True
        for queue_set in self._room.sets.values():
            for waiter in list(queue_set.waiters.values()):
                waiter.has_looked = True
                self._time_over(queue_set, waiter)

    async def run(self) -> None:
        """Search while somebody waits; never returns by itself."""
        await self._searches.run()

    # ---------------------------------------------------------------- coming and going

    def _enter(self, queues: tuple[str, ...], waiter: Waiter) -> QueueSet:
        queue_set = self._room.enter(queues, waiter)
        now = waiter.arrived_at
        is_up_to_date = queue_set.is_dealt and queue_set.buffer.is_fresh(now)
        waiter.has_looked = is_up_to_date and not waiter.looks_once
        self._to_deal[queue_set] = None
        self._deal()
        return queue_set

    def _time_over(self, queue_set: QueueSet, waiter: Waiter) -> None:
        waiter.is_time_over = True
        self._answer(queue_set, waiter)
        if waiter.answer.done():
            return
        if waiter.timer is not None:
            waiter.timer.cancel()
        loop = asyncio.get_running_loop()
        waiter.timer = loop.call_later(_GRACE_SECONDS, self._grace_over, queue_set, waiter)

    def _grace_over(self, queue_set: QueueSet, waiter: Waiter) -> None:
        """Answer with what is there; claims that are still being written will be undone."""
        waiter.error = StoreUnavailableError("Elasticsearch does not answer in time.")
        waiter.in_flight = 0
        self._answer(queue_set, waiter)

    def _offer_again(self, task: Task) -> None:
        """Offer a task whose claim was undone."""
        self.offer((task,))

    def _answer(self, queue_set: QueueSet, waiter: Waiter) -> None:
        """Answer a claim if it is time."""
        waiter.answer_if_ready(None if self._is_closing else queue_set.failure)

    # ---------------------------------------------------------------- dealing

    def _deal_soon(self, queue_set: QueueSet) -> None:
        """Deal in the next turn of the loop, so that all offers of one bulk are there."""
        self._to_deal[queue_set] = None
        if not self._is_dealing_soon:
            self._is_dealing_soon = True
            asyncio.get_running_loop().call_soon(self._deal)

    def _deal(self) -> None:
        """Deal what is at hand, to each set of queues in turn: a deep one starves no other."""
        self._is_dealing_soon = False
        now = self._clock.monotonic()
        while self._to_deal:
            for queue_set in list(self._to_deal):
                if self._in_flight >= self._limits.max_in_flight:
                    return
                del self._to_deal[queue_set]
                if self._deal_some(queue_set, now):
                    self._to_deal[queue_set] = None  # behind the others

    def _deal_some(self, queue_set: QueueSet, now: float) -> bool:
        """Deal a few tasks; False if there is nothing left to deal, or nobody to deal to."""
        left = DEALT_AT_A_TURN
        while left > 0:
            waiter = queue_set.first_wanting()
            if waiter is None:
                return False
            dealt = self._deal_to(waiter, queue_set, now, most=left)
            if not dealt:
                self._searches.wake()
                self._all_dealt(queue_set, now)
                return False
            left -= dealt
        return True

    def _deal_to(self, waiter: Waiter, queue_set: QueueSet, now: float, *, most: int) -> int:
        """Deal tasks to one who waits, and begin to claim them; return how many."""
        candidates: list[Candidate] = []
        while len(candidates) < most and waiter.wants_more:
            candidate = self._supply.next(queue_set, now)
            if candidate is None:
                break
            waiter.in_flight += 1
            waiter.dealt_bytes += candidate.size
            candidates.append(candidate)
        if candidates:
            self._in_flight += len(candidates)
            claim = self._claim(queue_set, waiter, candidates)
            self._background.start(claim, name="claim", context=waiter.context)
        return len(candidates)

    def _all_dealt(self, queue_set: QueueSet, now: float) -> None:
        """Answer those who got nothing of all that was found, and do not wait any longer."""
        buffer = queue_set.buffer
        if queue_set.is_dealt or buffer.next_rank is not None or not buffer.is_fresh(now):
            return
        queue_set.is_dealt = True
        for waiter in list(queue_set.waiters.values()):
            if not waiter.looks_once or waiter.arrived_at <= buffer.searched_at:
                waiter.has_looked = True
                self._answer(queue_set, waiter)

    # ---------------------------------------------------------------- claiming

    async def _claim(
        self, queue_set: QueueSet, waiter: Waiter, candidates: Sequence[Candidate]
    ) -> None:
        outcome = ClaimOutcome()
        try:
            outcome = await self._claiming.claim(waiter.worker_id, candidates)
        finally:
            self._in_flight -= len(candidates)
            self._take(queue_set, waiter, candidates, outcome)

    def _take(
        self,
        queue_set: QueueSet,
        waiter: Waiter,
        candidates: Sequence[Candidate | Task],
        outcome: ClaimOutcome,
    ) -> None:
        """Hand the outcome of claims to the one who waits for them."""
        claimed = outcome.claimed
        if waiter.answer.done():
            for each in claimed:
                self._claiming.give_back(each)
            self._deal()
            return
        waiter.in_flight -= len(candidates)
        waiter.take(claimed)
        waiter.error = outcome.error or waiter.error
        for each in claimed:
            self._last_seen.remember(each.task)
        if len(claimed) < len(candidates):
            waiter.dealt_bytes -= sum(each.size for each in candidates)
            waiter.dealt_bytes += sum(each.before.size for each in claimed)
            queue_set.want(waiter)
        self._to_deal[queue_set] = None
        self._deal()
        self._answer(queue_set, waiter)

    def _take_found(self, queue_set: QueueSet) -> None:
        if queue_set.failure is None:
            queue_set.is_dealt = False
            self._to_deal[queue_set] = None
            self._deal()
            return
        for waiter in list(queue_set.waiters.values()):
            waiter.has_looked = True
            self._answer(queue_set, waiter)
