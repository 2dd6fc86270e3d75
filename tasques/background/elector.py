"""Deciding which of the servers leads, and knowing whether it is this one.

All servers look at one document, the lease. Its leader writes it anew every interval. A follower
takes the lead when it has watched the document not change for the lease that is written in it.
The leader trusts itself for a little less than that after it sent its last write that took place.
Each measures the time by its own clock since boot, so no two clocks have to agree, and a host that
slept knows it.

Every write is conditional on the version that was seen last, so of two servers that want the lead
one gets it, and whoever has lost it is told at its next write. One that can not reach the store
loses the lead by the passing of time alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Final

from tasques.background.lease_watch import LeaseWatch
from tasques.domain.errors import TasquesError
from tasques.domain.lease import Leadership, Lease, Server
from tasques.domain.ports import Clock, LeaderLock
from tasques.domain.term import Term

log = logging.getLogger(__name__)

_MARGIN: Final = 0.1  # of the lease; far more than two clocks differ in how fast they run
_SHORTEST_PAUSE: Final = 0.001  # seconds
_PART_AFTER_FAILURE: Final = 0.25  # of a pause, while there is trust to be kept
_TRIES: Final = 3
_TIME_TO_RESIGN: Final = 2.0  # seconds


class Elector:
    """Takes part in electing the leader for one server process."""

    def __init__(
        self,
        *,
        lock: LeaderLock,
        me: Server,
        clock: Clock,
        random: Random,
        interval: timedelta,
        lease: timedelta,
        may_lead: Callable[[], bool],
    ) -> None:
        """Make an elector; its `run` has to be running.

        Args:
            lock: where the lease is kept.
            me: this server.
            clock: for durations; the wall clock is only shown to people.
            random: for jitter.
            interval: the longest time between two looks, or two renewals.
            lease: for how long the others wait for a sign of life of this server; more than
                twice the interval.
            may_lead: whether this server is fit to lead; asked all the time.
        """
        self._lock = lock
        self._me = me
        self._clock = clock
        self._random = random
        self._interval = interval.total_seconds()
        self._duration = lease
        self._may_lead = may_lead
        self._watch = LeaseWatch(me=me, lease=lease, clock=clock)
        self._term: Term | None = None
        self._writes = 0
        self._has_failed = False

    def is_leader(self) -> bool:
        """Whether this server may act as the leader right now."""
        return self._is_trusted() and self._may_lead()

    def leadership(self) -> Leadership:
        """Who leads, as far as this server has seen."""
        lease = self._watch.lease if self._watch.is_running() else None
        return Leadership(lease, is_this_server=self.is_leader())

    async def run(self) -> None:
        """Take part until cancelled, and give up the lead then."""
        try:
            while True:
                await self._take_turn()
                await self._clock.sleep(self._pause())
        finally:
            await self._leave()

    # ---------------------------------------------------------------- one turn

    async def _take_turn(self) -> None:
        try:
            if not self._is_trusted():
                self._lose("the lease was not renewed in time")
                await self._look()
            elif self._may_lead():
                await self._renew()
            else:
                await self._resign("this server is not fit to lead")
        except TasquesError as error:
            self._failed(error)
        else:
            self._has_failed = False

    async def _look(self) -> None:
        """Look who leads, and take the lead if nobody does."""
        self._watch.see(await self._lock.read())
        if not (self._watch.is_free() and self._may_lead()):
            return
        if self._watch.own_lease:  # of before a silence
            await self._renew()
        else:
            await self._write(self._new_term())

    async def _renew(self) -> None:
        """Give a sign of life, and know after it that this server still leads."""
        for _ in range(_TRIES):
            own = self._watch.own_lease
            if own is None:
                self._lose("another server took the lead, or the lease is gone")
                return
            now = self._clock.now()
            renewal = own.renewed(write=self._next_write(), at=now, duration=self._duration)
            if await self._write(renewal):
                return
            # What is there may be an earlier write of this server whose answer was lost.

    async def _write(self, lease: Lease) -> bool:
        """Write a lease of this server; False if something else is there."""
        sent_at = self._clock.boottime()
        stored = await self._lock.write(lease)
        self._watch.see(stored)
        if not lease.is_same_write(stored):
            return False
        if self._term is None:
            log.info("this server leads", extra={"term": lease.term})
        duration = lease.duration.total_seconds()
        self._term = Term(sent_at, duration, duration * _MARGIN)
        return True

    def _new_term(self) -> Lease:
        now = self._clock.now()
        before = self._watch.lease
        return Lease(
            leader=self._me,
            term=self._watch.next_term,
            since=now,
            write=self._next_write(),
            written_at=now,
            duration=self._duration,
            version=None if before is None else before.version,
        )

    def _next_write(self) -> int:
        self._writes += 1
        return self._writes

    def _pause(self) -> float:
        """Seconds until the next turn."""
        if self._is_trusted():
            return self._interval * (_PART_AFTER_FAILURE if self._has_failed else 1.0)
        pause = self._interval * self._random.uniform(0.8, 1.0)
        left = self._watch.time_left()
        return max(min(pause, left), _SHORTEST_PAUSE) if left > 0 else pause

    # ---------------------------------------------------------------- gaining and losing

    def _is_trusted(self) -> bool:
        return self._term is not None and self._term.is_trusted(self._clock.boottime())

    def _lose(self, reason: str) -> None:
        if self._term is not None:
            self._term = None
            log.warning("this server leads no more", extra={"reason": reason})

    def _failed(self, error: TasquesError) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.warning("the leader's lease is out of reach", extra={"reason": str(error)})

    async def _resign(self, reason: str) -> None:
        """Let the others have the lead at once."""
        self._lose(reason)
        for _ in range(_TRIES):
            if (own := self._watch.own_lease) is None:
                return
            end = own.resigned(write=self._next_write(), at=self._clock.now())
            stored = await self._lock.write(end)
            self._watch.see(stored)
            if end.is_same_write(stored):
                log.info("gave up the lead", extra={"term": end.term})

    async def _leave(self) -> None:
        """Resign at the end of the process. If that fails, the lease runs out by itself."""
        if self._writes == 0:
            return
        try:
            async with asyncio.timeout(_TIME_TO_RESIGN):
                self._term = None
                # The last write may have been cancelled on its way.
                self._watch.see(await self._lock.read())
                await self._resign("")
        except (TasquesError, TimeoutError) as error:
            log.warning("could not give up the lead", extra={"reason": str(error)})
