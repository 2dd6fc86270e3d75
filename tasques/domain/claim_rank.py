"""The order in which tasks are claimed, as one number: smaller goes first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tasques.domain.instant import to_milliseconds

_TIME_BITS: Final = 42
_LAST_MILLISECOND: Final = (1 << _TIME_BITS) - 1
MAX_PRIORITY: Final = 1 << 20
"""Priorities beyond ±`MAX_PRIORITY` are kept as sent, but rank like this one."""


def claim_rank(priority: int, run_at: datetime) -> int:
    """Higher priorities first; within one, by `run_at` (1970 to 2109, others as these)."""
    clamped = max(-MAX_PRIORITY, min(MAX_PRIORITY, priority))
    milliseconds = max(0, min(_LAST_MILLISECOND, to_milliseconds(run_at)))
    return milliseconds - (clamped << _TIME_BITS)


def priority_class(rank: int) -> int:
    """The part of a rank that stands for the priority; smaller goes first."""
    return rank >> _TIME_BITS


def end_of_class(rank: int) -> int:
    """The last rank that has the same priority."""
    return rank | _LAST_MILLISECOND
