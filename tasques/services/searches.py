"""When the claim broker searches, and for what.

One request carries the searches of all sets of queues that need one. A set needs one at once when
nothing recent is known of it, or when what was found runs out; otherwise all wait for the next
poll, which refreshes the index first. So those who wait cost the same whether they are one or a
thousand.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tasques.domain.errors import StoreUnavailableError, UnavailableError
from tasques.domain.ports import ClaimSearch, Clock, TaskRepository
from tasques.services.broker_limits import BrokerLimits
from tasques.services.slots import Slots
from tasques.services.waiting import MAX_ANSWER_BYTES, SMALLEST_SEARCH, QueueSet

log = logging.getLogger(__name__)

_LARGEST_SEARCH: Final = 10_000  # Elasticsearch's own limit
_MAX_SEARCHES_AT_ONCE: Final = 100
_ACTIVE_SECONDS: Final = 5.0
_FAILURE_PAUSE: Final = 0.5
_FORGETTING_PAUSE: Final = 1.0


class Searches:
    """Searches while somebody waits; one for each broker."""

    def __init__(
        self,
        *,
        tasks: TaskRepository,
        queue_sets: Mapping[tuple[str, ...], QueueSet],
        on_found: Callable[[QueueSet], None],
        slots: Slots,
        clock: Clock,
        limits: BrokerLimits,
    ) -> None:
        """Search for `queue_sets`, which others change; `on_found` is called after each search."""
        self._tasks = tasks
        self._sets = queue_sets
        self._on_found = on_found
        self._slots = slots
        self._clock = clock
        self._limits = limits
        self._wake = asyncio.Event()
        self._refreshed_at = float("-inf")
        self._active_until = float("-inf")
        self._was_cold = False

    @property
    def is_active(self) -> bool:
        """Whether something was found lately."""
        return self._clock.monotonic() < self._active_until

    def wake(self) -> None:
        """Somebody wants something that is not at hand."""
        self._wake.set()

    async def run(self) -> None:
        """Search; never returns by itself."""
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

    async def _look(self) -> float | None:
        """Search for those who need it; return the seconds until the next look, None if nobody."""
        now = self._clock.monotonic()
        waiting = [
            each
            for each in self._sets.values()
            if each.first_wanting() is not None or each.is_ageing
        ]
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
                await self._search_batch(batch, from_top=with_refresh)
            except UnavailableError as error:
                _fail(batch, error)
            except Exception:  # one odd answer must not end the serving of claims
                log.exception("a search for claimable tasks failed")
                _fail(batch, StoreUnavailableError("Elasticsearch can not search."))
            for queue_set in batch:
                self._on_found(queue_set)

    async def _search_batch(self, queue_sets: list[QueueSet], *, from_top: bool) -> None:
        now = self._clock.monotonic()
        due_at = self._clock.now()
        searches = []
        for queue_set in queue_sets:
            buffer = queue_set.buffer
            is_next_page = buffer.is_fresh(now) and buffer.is_low and not from_top
            searches.append(
                ClaimSearch(
                    queues=queue_set.queues,
                    due_at=due_at,
                    size=self._search_size(queue_set),
                    from_rank=buffer.next_rank if is_next_page else None,
                )
            )
        results = await self._tasks.search_claimable(searches)
        for queue_set, search, found in zip(queue_sets, searches, results, strict=True):
            queue_set.failure = None
            queue_set.is_ageing = False
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
        queue_set.size = max(SMALLEST_SEARCH, 2 * wanted, queue_set.size)
        fitting = int(MAX_ANSWER_BYTES / max(1.0, queue_set.buffer.mean_size))
        queue_set.size = max(1, min(self._limits.max_search, fitting, queue_set.size))
        # Most of what is found is in other processes' slots.
        return min(queue_set.size * self._slots.count, _LARGEST_SEARCH)


def _fail(queue_sets: Iterable[QueueSet], error: UnavailableError) -> None:
    for queue_set in queue_sets:
        queue_set.failure = error
        queue_set.is_ageing = False
