"""Watching somebody's lease run out."""

from __future__ import annotations

import logging
from datetime import timedelta

from tasques.domain.lease import Lease, Server
from tasques.domain.ports import Clock

log = logging.getLogger(__name__)


class LeaseWatch:
    """What one server has seen of the lease, and for how long it has been so.

    A lease that was not written anew for its duration is over, whatever any wall clock says.
    Duration counts from when it was first seen, which is later than when it was written.
    """

    def __init__(self, *, me: Server, lease: timedelta, clock: Clock) -> None:
        """Watch as `me`; `lease` is how long to wait where no lease says how long."""
        self._me = me
        self._wait = lease.total_seconds()
        self._longest_wait = self._wait
        self._clock = clock
        self._lease: Lease | None = None
        self._since: float | None = None
        self._last_term = 0

    @property
    def lease(self) -> Lease | None:
        """What was seen last; None if nothing was there."""
        return self._lease

    @property
    def own_lease(self) -> Lease | None:
        """What was seen last, if it is of this server and not resigned."""
        lease = self._lease
        return lease if lease and lease.leader == self._me and not lease.is_resigned else None

    @property
    def next_term(self) -> int:
        """A number that is larger than those of all terms that were seen."""
        return self._last_term + 1

    def see(self, lease: Lease | None) -> None:
        """Note what is stored, just after a request for it was answered."""
        if self._since is not None and lease == self._lease:
            return
        before, self._lease = self._lease, lease
        self._since = self._clock.boottime()
        if lease is None:
            # Perhaps it was deleted under a leader that still trusts itself.
            self._wait = self._longest_wait
            return
        self._wait = lease.duration.total_seconds()
        self._longest_wait = max(self._longest_wait, self._wait)
        self._last_term = max(self._last_term, lease.term)
        if lease.leader != self._me and (before is None or before.leader != lease.leader):
            log.info("another server leads", extra=_described(lease))

    def is_running(self) -> bool:
        """Whether the server that wrote the lease may still trust it."""
        lease = self._lease
        return lease is not None and not lease.is_resigned and self.time_left() > 0

    def is_free(self) -> bool:
        """Whether this server can take the lead, if nothing has changed meanwhile."""
        if self._since is None:
            return False
        if self._lease is not None and (self._lease.is_resigned or self.own_lease is not None):
            return True
        return self.time_left() <= 0

    def time_left(self) -> float:
        """Seconds until what was seen is over, if nothing changes; 0 or less if it is."""
        if self._since is None:
            return 0.0
        return self._since + self._wait - self._clock.boottime()


def _described(lease: Lease) -> dict[str, object]:
    leader = lease.leader
    return {
        "leader_id": leader.id,
        "leader_host": leader.host,
        "leader_pid": leader.pid,
        "term": lease.term,
    }
