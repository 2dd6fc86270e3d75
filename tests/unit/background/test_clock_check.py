from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from fakes import FakeClock

from tasques.background.clock_check import ClockCheck
from tasques.domain.errors import StoreUnavailableError

SECOND = timedelta(seconds=1)


class FakeStoreClock:
    """Is behind or ahead of a clock; can take its time, refuse, or not answer."""

    def __init__(self, clock, host_is_ahead=timedelta(0)):
        self.clock = clock
        self.host_is_ahead = host_is_ahead
        self.is_forbidden = False
        self.is_down = False
        self.way_there = 0.0
        self.way_back = 0.0

    async def now(self):
        await self.clock.sleep(self.way_there)
        if self.is_down:
            raise StoreUnavailableError("down")
        shown = None if self.is_forbidden else self.clock.now() - self.host_is_ahead
        await self.clock.sleep(self.way_back)
        return shown


class SettableClock(FakeClock):
    """A clock whose wall time somebody sets."""

    set_by = timedelta(0)

    def now(self):
        return super().now() + self.set_by


def a_check(store, clock):
    return ClockCheck(store=store, clock=clock, max_offset=10 * SECOND)


@pytest.fixture
def clock():
    return SettableClock()


@pytest.mark.parametrize(
    ("seconds", "is_good", "warning"),
    [
        (0, True, None),
        (1, True, None),
        (1.5, True, "The clock is 1.5 s ahead of Elasticsearch's."),
        (-9, True, "The clock is 9.0 s behind Elasticsearch's."),
        (10, True, "The clock is 10.0 s ahead of Elasticsearch's."),
        (-600, False, "The clock is 600.0 s behind Elasticsearch's: this server does not lead."),
        (11, False, "The clock is 11.0 s ahead of Elasticsearch's: this server does not lead."),
    ],
)
async def test_a_clock_is_judged_by_its_distance(clock, seconds, is_good, warning):
    check = a_check(FakeStoreClock(clock, seconds * SECOND), clock)

    await check.measure()

    assert check.offset == seconds * SECOND
    assert check.is_good() is is_good
    assert check.warning() == warning


async def test_before_it_is_measured_no_clock_is_good(clock):
    check = a_check(FakeStoreClock(clock), clock)

    assert not check.is_good()
    assert check.offset is None
    assert check.warning() is None


async def test_a_clock_that_can_not_be_measured_has_to_be_trusted(clock):
    store = FakeStoreClock(clock)
    store.is_forbidden = True
    check = a_check(store, clock)

    await check.measure()

    assert check.is_good()
    assert check.warning() is None


@pytest.mark.parametrize("ways", [(0.0, 8.0), (8.0, 0.0), (4.0, 4.0)])
async def test_a_slow_answer_is_not_taken_for_an_offset(clock, ways):
    store = FakeStoreClock(clock)
    store.way_there, store.way_back = ways
    check = a_check(store, clock)

    measuring = asyncio.ensure_future(check.measure())
    await clock.advance(10)
    await measuring

    assert check.offset == timedelta(0)


async def test_setting_the_clock_is_noticed_without_measuring_again(clock):
    check = a_check(FakeStoreClock(clock), clock)
    await check.measure()

    clock.set_by = timedelta(hours=1)
    assert check.offset == timedelta(hours=1)
    assert not check.is_good()

    clock.set_by = timedelta(0)
    assert check.is_good()


async def test_the_passing_of_time_is_no_offset(clock):
    check = a_check(FakeStoreClock(clock, 3 * SECOND), clock)
    await check.measure()

    await clock.advance(86_400)

    assert check.offset == 3 * SECOND


async def test_it_is_measured_again_and_changes_are_logged_once(clock, caplog):
    caplog.set_level(logging.INFO)
    store = FakeStoreClock(clock, 60 * SECOND)
    check = a_check(store, clock)
    running = asyncio.ensure_future(check.run())

    await clock.advance(600)
    store.host_is_ahead = timedelta(0)
    await clock.advance(600)
    running.cancel()

    assert check.is_good()
    assert caplog.messages == [
        "The clock is 60.0 s ahead of Elasticsearch's: this server does not lead.",
        "the clock is right again",
    ]


async def test_a_store_that_is_down_is_asked_again_soon(clock):
    store = FakeStoreClock(clock)
    store.is_down = True
    check = a_check(store, clock)
    running = asyncio.ensure_future(check.run())

    await clock.advance(30)
    assert not check.is_good()
    store.is_down = False
    await clock.advance(1)
    assert check.is_good()
    store.is_down = True
    await clock.advance(600)
    assert check.is_good()
    running.cancel()
