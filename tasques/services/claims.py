"""The claim broker: hands due tasks to the workers that wait for them.

Claims do not search, they wait here. One search serves all that wait for the same queues, and one
request carries the searches of all sets of queues. What was found is dealt first come first
served, each dealt task is claimed by a conditional write at once, and losers of a race are dealt
the next one. A claim is answered as soon as it has something and nothing more is at hand.

A task that becomes claimable in this process is offered to the broker, which can deal it without
a search; but only to claims whose queues were searched a moment ago, so that nothing that waited
longer is overtaken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Final

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreUnavailableError,
    TasquesError,
    UnavailableError,
    UnclaimableError,
    VersionConflictError,
)
from tasques.domain.ports import Candidate, ClaimSearch, Clock, Lane, TaskRepository
from tasques.domain.task import Task
from tasques.services.candidates import CandidateBuffer, GoneVersions, ReadyList
from tasques.services.giving_back import Claimed, GivingBack
from tasques.services.last_seen import LastSeen
from tasques.services.slots import Slots
from tasques.services.waiting import MAX_ANSWER_BYTES, QueueSet, Waiter

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 2.0
_DEALT_AT_A_TURN: Final = 50
_SMALLEST_SEARCH: Final = 50
_LARGEST_SEARCH: Final = 10_000  # Elasticsearch's own limit
_MAX_SEARCHES_AT_ONCE: Final = 100
_ACTIVE_SECONDS: Final = 5.0
_FAILURE_PAUSE: Final = 0.5
_FORGETTING_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """Bounds and paces of the broker. Times are in seconds.

    Attributes:
        max_parked: claims that wait at a time; more are refused.
        max_in_flight: claims that are being written at a time.
        max_search: candidates that one search asks for at most.
        refresh_min_interval: the least time between two refreshes of the index.
        poll_interval: the time between two searches while nothing happens.
        max_gone: how many taken versions are remembered.
        max_ready: how many new tasks are remembered until the index shows them.
        max_ready_bytes: how many bytes they may have.
        ready_seconds: for how long.
        max_queue_sets: how many sets of queues are remembered.
    """

    max_parked: int = 10_000
    max_in_flight: int = 1_000
    max_search: int = 2_000
    refresh_min_interval: float = 0.2
    poll_interval: float = 0.3
    max_gone: int = 200_000
    max_ready: int = 5_000
    max_ready_bytes: int = 32 * 1024 * 1024
    ready_seconds: float = 3.0
    max_queue_sets: int = 1_000


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
        self._new_claim_id = new_claim_id
        self._giving_back = giving_back
        self._background = background
        self._slots = slots
        self._limits = limits
        self._gone = GoneVersions(limits.max_gone)
        self._ready = ReadyList(
            max_tasks=limits.max_ready,
            max_bytes=limits.max_ready_bytes,
            seconds=limits.ready_seconds,
            gone=self._gone,
            slots=slots,
        )
        self._sets: dict[tuple[str, ...], QueueSet] = {}
        self._sets_of_queue: dict[str, set[QueueSet]] = {}
        self._to_deal: dict[QueueSet, None] = {}
        self._is_dealing_soon = False
        self._in_flight = 0
        self._parked = 0
        self._numbers = count()
        self._wake = asyncio.Event()
        self._refreshed_at = float("-inf")
        self._active_until = float("-inf")
        self._was_cold = False
        self._is_closing = False

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
        if self._parked >= self._limits.max_parked:
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
            self._leave(queue_set, waiter)

    def give_back(self, claimed: Iterable[Claimed]) -> None:
        """Undo claims whose answer can not be delivered, in the background."""
        for each in claimed:
            self._last_seen.forget(each.task.queue, each.task.id)
            self._giving_back.start(each, self.offer)

    def offer(self, task: Task) -> None:
        """Take note of a task that has just become claimable in this process.

        An offer is no promise: if somebody else is faster, or it is not taken within seconds, it
        is simply dropped, and the task is found by searches.
        """
        if self._is_closing or not task.is_due(self._clock.now()):
            return
        if not self._ready.add(task, self._clock.monotonic()):
            return
        for queue_set in self._sets_of_queue.get(task.queue, ()):
            self._deal_soon(queue_set)
        if (every_queue := self._sets.get(())) is not None:
            self._deal_soon(every_queue)

    @property
    def parked(self) -> int:
        """How many claims wait."""
        return self._parked

    @property
    def is_active(self) -> bool:
        """Whether anybody has been asking for tasks lately."""
        return self._parked > 0 or self._clock.monotonic() < self._active_until

    def close(self) -> None:
        """Answer all that wait with what they have, and take no more claims."""
        self._is_closing = True
        for queue_set in self._sets.values():
            for waiter in list(queue_set.waiters.values()):
                waiter.has_looked = True
                self._time_over(queue_set, waiter)

    async def run(self) -> None:
        """Search while somebody waits; never returns by itself."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (pause := await self._look()) is not None:
                if pause <= 0:
                    continue
                sleeping = asyncio.ensure_future(self._clock.sleep(pause))
                waking = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    sleeping.cancel()
                    waking.cancel()
                self._wake.clear()

    # ---------------------------------------------------------------- coming and going

    def _enter(self, queues: tuple[str, ...], waiter: Waiter) -> QueueSet:
        queue_set = self._sets.get(queues)
        if queue_set is None:
            self._make_room()
            queue_set = QueueSet(queues, _SMALLEST_SEARCH, CandidateBuffer(self._slots))
            self._sets[queues] = queue_set
        if not queue_set.waiters:
            for queue in queues:
                self._sets_of_queue.setdefault(queue, set()).add(queue_set)
        self._parked += 1
        queue_set.add(waiter)
        now = waiter.arrived_at
        is_up_to_date = queue_set.is_dealt and queue_set.buffer.is_fresh(now)
        waiter.has_looked = is_up_to_date and not waiter.looks_once
        self._to_deal[queue_set] = None
        self._deal()
        return queue_set

    def _leave(self, queue_set: QueueSet, waiter: Waiter) -> None:
        self._parked -= 1
        queue_set.remove(waiter)
        if queue_set.waiters:
            return
        for queue in queue_set.queues:
            sets = self._sets_of_queue.get(queue)
            if sets is not None:
                sets.discard(queue_set)
                if not sets:
                    del self._sets_of_queue[queue]

    def _make_room(self) -> None:
        """Forget sets that nobody waits for, oldest first."""
        if len(self._sets) < self._limits.max_queue_sets:
            return
        idle = [queues for queues, queue_set in self._sets.items() if not queue_set.waiters]
        for queues in idle[: len(idle) // 2 + 1]:
            del self._sets[queues]

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

    def _answer(self, queue_set: QueueSet, waiter: Waiter) -> None:
        """Answer a claim if it is time."""
        if waiter.answer.done() or waiter.in_flight:
            return
        if waiter.claimed:
            waiter.answer.set_result(waiter.claimed)
        elif waiter.error is not None:
            waiter.answer.set_exception(waiter.error)
        elif waiter.has_looked and (waiter.is_time_over or waiter.looks_once):
            if queue_set.failure is not None and not self._is_closing:
                # One of its own: an error that many raise collects the traces of all of them.
                waiter.answer.set_exception(StoreUnavailableError(str(queue_set.failure)))
            else:
                waiter.answer.set_result([])

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
        for _ in range(_DEALT_AT_A_TURN):
            waiter = queue_set.first_wanting()
            if waiter is None:
                return False
            candidate = self._next_candidate(queue_set, now)
            if candidate is None:
                self._wake.set()
                self._all_dealt(queue_set, now)
                return False
            self._start_claim(queue_set, waiter, candidate)
        return True

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

    def _next_candidate(self, queue_set: QueueSet, now: float) -> Candidate | None:
        """The next task in claim order, from the index and from what became claimable here."""
        if not queue_set.buffer.is_fresh(now):
            return None
        buffer = queue_set.buffer
        found = buffer.first(self._gone)
        ready = self._ready.first(queue_set.queues, now)
        if ready is not None and not buffer.reaches(ready.rank):
            ready = None  # it would overtake what is on the next page
        if ready is not None and buffer.release_before(ready.rank):
            found = buffer.first(self._gone)
        candidate: Candidate | None
        if ready is not None and (found is None or ready.rank < found.rank):
            candidate = ready
        else:
            candidate = found
            if found is not None:
                buffer.drop_first()
                if buffer.is_low and buffer.next_rank is not None:
                    self._wake.set()
        if candidate is not None:
            self._gone.add((candidate.queue, candidate.task_id), candidate.version)
        return candidate

    def _start_claim(self, queue_set: QueueSet, waiter: Waiter, candidate: Candidate) -> None:
        waiter.in_flight += 1
        waiter.dealt_bytes += candidate.size
        self._in_flight += 1
        self._background.start(self._claim(queue_set, waiter, candidate), name="claim")

    async def _claim(self, queue_set: QueueSet, waiter: Waiter, candidate: Candidate) -> None:
        claimed: Claimed | None = None
        try:
            claimed = await self._write_claim(waiter.worker_id, candidate)
        except (VersionConflictError, UnclaimableError):
            pass  # somebody else has it
        except UnavailableError as error:
            waiter.error = error
        except TasquesError as error:
            log.warning("a task can not be claimed", extra={"reason": str(error)})
        finally:
            self._in_flight -= 1
            self._take(queue_set, waiter, candidate, claimed)

    async def _write_claim(self, worker_id: str, candidate: Candidate) -> Claimed:
        before = candidate.task()
        task = before.claim(
            worker_id=worker_id, at=self._clock.now(), claim_id=self._new_claim_id()
        )
        try:
            return Claimed(await self._tasks.update(task, Lane.CLAIM), before)
        except (OverloadedError, ShuttingDownError):  # it was not even tried
            self._gone.discard((candidate.queue, candidate.task_id), candidate.version)
            raise
        except UnavailableError:  # it may have been written all the same
            self._gone.discard((candidate.queue, candidate.task_id), candidate.version)
            self._giving_back.start(Claimed(replace(task, version=None), before), self.offer)
            raise

    def _take(
        self, queue_set: QueueSet, waiter: Waiter, candidate: Candidate, claimed: Claimed | None
    ) -> None:
        """Hand the outcome of one claim to the one who waits for it."""
        if waiter.answer.done():
            if claimed is not None:
                self._giving_back.start(claimed, self.offer)
            self._deal()
            return
        waiter.in_flight -= 1
        if claimed is not None:
            waiter.claimed.append(claimed)
            self._last_seen.remember(claimed.task)
        else:
            waiter.dealt_bytes -= candidate.size
            queue_set.want(waiter)
        self._to_deal[queue_set] = None
        self._deal()
        self._answer(queue_set, waiter)

    # ---------------------------------------------------------------- searching

    async def _look(self) -> float | None:
        """Search for those who need it; return the seconds until the next look, None if nobody."""
        now = self._clock.monotonic()
        waiting = [each for each in self._sets.values() if each.first_wanting() is not None]
        if not waiting:
            self._was_cold = False
            return _FORGETTING_PAUSE if self._expire(self._sets.values(), now) else None
        urgent = [each for each in waiting if self._is_urgent(each, now)]
        cold = [each for each in urgent if each.buffer.is_exhausted]
        interval = self._limits.poll_interval
        if now < self._active_until:
            interval = min(interval, self._limits.refresh_min_interval)
        if any(each.failure is not None for each in waiting):
            interval = max(interval, _FAILURE_PAUSE)
        next_poll = self._refreshed_at + interval
        is_poll_due = now >= next_poll
        # What waits for a set's first look is most likely old enough to be seen without a refresh.
        # But an endless stream of first looks must not keep the others from their polls.
        self._was_cold, was_cold = bool(cold), self._was_cold
        if cold and not (is_poll_due and was_cold):
            await self._search(cold, with_refresh=False)
        elif is_poll_due:
            self._was_cold = False
            self._expire((each for each in self._sets.values() if not each.waiters), now)
            await self._search(waiting, with_refresh=True)
        elif urgent:
            await self._search(urgent, with_refresh=False)
        else:
            return next_poll - now
        return 0.0

    def _expire(self, queue_sets: Iterable[QueueSet], now: float) -> bool:
        """Let go of candidates that are too old; whether any are left."""
        left = [queue_set.buffer.expire(now) for queue_set in queue_sets]
        return any(left)

    def _is_urgent(self, queue_set: QueueSet, now: float) -> bool:
        """Whether to search at once instead of at the next poll."""
        buffer = queue_set.buffer
        if queue_set.failure is not None:
            return False
        if not queue_set.buffer.is_fresh(now):
            return True
        if any(
            waiter.looks_once and not waiter.has_looked and waiter.arrived_at > buffer.searched_at
            for waiter in queue_set.wanting()
        ):
            return True
        return buffer.is_low and buffer.next_rank is not None

    async def _search(self, queue_sets: list[QueueSet], *, with_refresh: bool) -> None:
        if with_refresh:
            self._refreshed_at = self._clock.monotonic()
        for start in range(0, len(queue_sets), _MAX_SEARCHES_AT_ONCE):
            batch = queue_sets[start : start + _MAX_SEARCHES_AT_ONCE]
            try:
                if with_refresh and start == 0:
                    await self._tasks.refresh()
                await self._search_batch(batch)
            except UnavailableError as error:
                _fail(batch, error)
            except Exception:  # one odd answer must not end the serving of claims
                log.exception("a search for claimable tasks failed")
                _fail(batch, StoreUnavailableError("Elasticsearch can not search."))
            for queue_set in batch:
                self._after_search(queue_set)

    async def _search_batch(self, queue_sets: list[QueueSet]) -> None:
        now = self._clock.monotonic()
        due_at = self._clock.now()
        searches = []
        for queue_set in queue_sets:
            is_next_page = queue_set.buffer.is_fresh(now) and queue_set.buffer.is_low
            searches.append(
                ClaimSearch(
                    queues=queue_set.queues,
                    due_at=due_at,
                    size=self._search_size(queue_set),
                    from_rank=queue_set.buffer.next_rank if is_next_page else None,
                )
            )
        results = await self._tasks.search_claimable(searches)
        for queue_set, search, found in zip(queue_sets, searches, results, strict=True):
            queue_set.failure = None
            if search.from_rank is not None:
                queue_set.buffer.extend(found, size=search.size)
            else:
                answered_at = self._clock.monotonic()
                queue_set.buffer.replace(
                    found, size=search.size, searched_at=now, answered_at=answered_at
                )
            if found:
                self._active_until = now + _ACTIVE_SECONDS

    def _search_size(self, queue_set: QueueSet) -> int:
        """How many candidates to ask for: more where they were used up, fewer where they lay."""
        wanted = sum(
            waiter.amount - len(waiter.claimed) - waiter.in_flight for waiter in queue_set.wanting()
        )
        if queue_set.buffer.is_low and not queue_set.buffer.is_exhausted:
            queue_set.size *= 4
        else:
            queue_set.size //= 2
        queue_set.size = max(_SMALLEST_SEARCH, 2 * wanted, queue_set.size)
        fitting = int(MAX_ANSWER_BYTES / max(1.0, queue_set.buffer.mean_size))
        queue_set.size = max(1, min(self._limits.max_search, fitting, queue_set.size))
        # Most of what is found is in other processes' slots.
        return min(queue_set.size * self._slots.count, _LARGEST_SEARCH)

    def _after_search(self, queue_set: QueueSet) -> None:
        if queue_set.failure is None:
            queue_set.is_dealt = False
            self._to_deal[queue_set] = None
            self._deal()
            return
        for waiter in list(queue_set.waiters.values()):
            waiter.has_looked = True
            self._answer(queue_set, waiter)


def _fail(queue_sets: Iterable[QueueSet], error: UnavailableError) -> None:
    for queue_set in queue_sets:
        queue_set.failure = error
