from __future__ import annotations

import logging

import pytest
from fakes import FakeClock

from tasques.background.slow import watched
from tasques.domain.errors import StoreUnavailableError


class Slow:
    """A chore whose passes take as long as told."""

    name = "reaper"
    interval = 1.0

    def __init__(self, clock, seconds, error=None):
        self._clock = clock
        self._seconds = seconds
        self._error = error

    async def run_once(self):
        self._clock._elapsed += self._seconds
        if self._error is not None:
            raise self._error
        return 7


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.WARNING, logger="tasques.background.slow")
    return lambda: [(each.message, each.chore, each.duration_ms) for each in caplog.records]


async def test_a_pass_that_takes_long_is_told(lines):
    clock = FakeClock()

    assert await watched(Slow(clock, 31.5), clock, slow_after=30.0).run_once() == 7

    assert lines() == [("slow chore", "reaper", 31500.0)]


async def test_a_slow_pass_that_fails_is_told_too(lines):
    clock = FakeClock()
    chore = watched(Slow(clock, 30.0, StoreUnavailableError("away")), clock, slow_after=30.0)

    with pytest.raises(StoreUnavailableError):
        await chore.run_once()

    assert lines() == [("slow chore", "reaper", 30000.0)]


@pytest.mark.parametrize(("seconds", "slow_after"), [(29.9, 30.0), (1000.0, 0.0)])
async def test_no_other_pass_is(lines, seconds, slow_after):
    clock = FakeClock()

    await watched(Slow(clock, seconds), clock, slow_after=slow_after).run_once()

    assert lines() == []
