"""What every `Clock` promises, and how the one that stands still is moved."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from factories import START
from fakes import FakeClock, settle

from tasques.clock import SystemClock


@pytest.fixture(params=[FakeClock, SystemClock])
def clock(request):
    return request.param()


async def test_now_is_an_instant_in_utc(clock):
    """Instants are aware and in UTC, so that they can be compared and shown as they are."""
    assert clock.now().utcoffset() == timedelta(0)


async def test_seconds_never_go_back(clock):
    """Of two readings the later one is not the smaller one."""
    readings = [(clock.monotonic(), clock.boottime()) for _ in range(100)]

    for of_one_clock in zip(*readings, strict=True):
        assert list(of_one_clock) == sorted(of_one_clock)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_nobody_sleeps_for_no_time(clock, seconds):
    """To sleep for zero seconds or fewer returns, after the others had their turn."""
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, "others")

    await asyncio.wait_for(clock.sleep(seconds), timeout=60)

    assert turns == ["others"]


async def test_time_has_passed_after_a_sleep():
    """Whoever slept finds that at least that many seconds have passed."""
    clock = SystemClock()
    begun = clock.monotonic()
    begun_since_boot = clock.boottime()

    await clock.sleep(0.01)

    assert clock.monotonic() - begun >= 0.01
    assert clock.boottime() - begun_since_boot >= 0.01


async def log_after(clock: FakeClock, seconds: float, log: list[tuple[float, float]]) -> None:
    await clock.sleep(seconds)
    log.append((seconds, clock.monotonic()))


async def test_a_fake_clock_stands_still():
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(0.001))

    await settle()

    assert not sleeper.done()
    assert clock.sleepers == 1
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    await clock.advance(0.001)
    assert sleeper.done()
    assert clock.sleepers == 0


async def test_a_fake_clock_wakes_everyone_at_their_own_time():
    clock = FakeClock()
    log: list[tuple[float, float]] = []
    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 10, 2, 1):
            group.create_task(log_after(clock, seconds, log))
        await clock.advance(5)

        assert log == [(1, 1.0), (1, 1.0), (2, 2.0), (3, 3.0)]
        assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=5), 5.0)
        await clock.advance(5)

    assert log[4:] == [(10, 10.0)]


async def test_a_fake_clock_wakes_those_who_sleep_again():
    clock = FakeClock()
    woken: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(15)
            woken.append(clock.monotonic())

    ticking = asyncio.ensure_future(tick())
    await clock.advance(61)

    assert woken == [15.0, 30.0, 45.0, 60.0]
    ticking.cancel()
    await settle()
    assert clock.sleepers == 0


async def test_a_fake_clock_forgets_those_who_were_cancelled():
    clock = FakeClock()
    cancelled = asyncio.ensure_future(clock.sleep(1))
    log: list[tuple[float, float]] = []
    other = asyncio.ensure_future(log_after(clock, 2, log))
    await settle()
    cancelled.cancel()

    await clock.advance(2)

    assert cancelled.cancelled()
    assert other.done()
    assert log == [(2, 2.0)]
