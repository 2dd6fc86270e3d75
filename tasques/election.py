"""From settings to a server that takes part in the election of the leader."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from random import Random
from typing import Final

from tasques.background.clock_check import ClockCheck
from tasques.background.elector import Elector
from tasques.domain.lease import Server
from tasques.domain.ports import Clock
from tasques.repository.connection import Connection
from tasques.repository.leader_lock import ElasticsearchLeaderLock
from tasques.repository.store_clock import ElasticsearchClock
from tasques.settings import ServerSettings

_PART_FOR_A_REQUEST: Final = 1 / 3  # of the lease: time for another try while there is trust


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a server needs to lead.

    Attributes:
        elector: knows who leads.
        clock_check: knows whether the clock is good enough.
    """

    elector: Elector
    clock_check: ClockCheck

    def warnings(self) -> list[str]:
        """What an operator should look into."""
        warning = self.clock_check.warning()
        return [] if warning is None else [warning]


def candidate(
    settings: ServerSettings,
    *,
    server_id: str,
    alias: str,
    connection: Connection,
    clock: Clock,
    random: Random,
) -> Candidate:
    """Build a candidate.

    Args:
        settings: of this server.
        server_id: of this start of this process and of no other.
        alias: of the leader's index.
        connection: to Elasticsearch.
        clock: of this host.
        random: for jitter.
    """
    lock = settings.recurring.leader_lock
    request_timeout = min(
        settings.elasticsearch.request_timeout, lock.leader_lock_lease * _PART_FOR_A_REQUEST
    ).total_seconds()
    check = ClockCheck(
        store=ElasticsearchClock(connection, request_timeout=request_timeout),
        clock=clock,
        max_offset=lock.max_clock_offset,
    )
    elector = Elector(
        lock=ElasticsearchLeaderLock(
            alias=alias, connection=connection, request_timeout=request_timeout
        ),
        me=Server(server_id, socket.gethostname(), os.getpid()),
        clock=clock,
        random=random,
        interval=lock.run_interval,
        lease=lock.leader_lock_lease,
        may_lead=check.is_good,
    )
    return Candidate(elector, check)
