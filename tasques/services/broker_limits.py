"""The bounds and paces of the claim broker."""

from __future__ import annotations

from dataclasses import dataclass


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
    poll_interval: float = 0.5
    max_gone: int = 200_000
    max_ready: int = 5_000
    max_ready_bytes: int = 32 * 1024 * 1024
    ready_seconds: float = 3.0
    max_queue_sets: int = 1_000
