"""When a failed task runs again."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Final

from tasques.domain.instant import LATEST

MAX_JITTER: Final = 29


def backoff_seconds(retries: int, jitter: int) -> int:
    """How many seconds to wait before the next attempt.

    Grows with the fourth power, so that 25 retries take about three weeks; the formula is that
    of Faktory and Sidekiq.

    Args:
        retries: how many retries there were before this failure; 0 at the first failure.
        jitter: 0 to `MAX_JITTER`, drawn anew each time, so that tasks that failed together do
            not come back together.
    """
    return 15 + retries**4 + jitter * (retries + 1)


def next_attempt_at(at: datetime, retries: int, random: Random) -> datetime:
    """The instant of the next attempt of a task that failed `at`; never after `LATEST`."""
    seconds = backoff_seconds(retries, random.randint(0, MAX_JITTER))
    if seconds >= (LATEST - at).total_seconds():
        return LATEST
    return at + timedelta(seconds=seconds)
