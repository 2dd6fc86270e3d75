from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from random import Random

import pytest
from elections import INTERVAL, LEASE, Rival
from fake_leader_lock import LeaseStore, at_once
from fakes import FakeClock, RecordingObserver, settle

from tasques.background.chore import UNOBSERVED
from tasques.background.clock_check import ClockCheck
from tasques.background.service import BackgroundService, repeat
from tasques.domain.errors import StoreUnavailableError


class FakeChore:
    """Notes when it is begun; may take its time, or fail at one of its passes."""

    name = "sweep"
    interval = 10.0

    def __init__(self, clock, *, takes=0.0, done=1, failures=None):
        self.clock = clock
        self.takes = takes
        self.done = done
        self.failures = failures or {}
        self.begun = []
        self.ended = []

    async def run_once(self):
        self.begun.append(self.clock.monotonic())
        try:
            await self.clock.sleep(self.takes)
            if error := self.failures.get(len(self.begun)):
                raise error
        finally:
            self.ended.append(self.clock.monotonic())
        return self.done


class ConstantRandom(Random):
    """Draws the lower bound."""

    def uniform(self, a, b):
        return a


@pytest.fixture
def clock():
    return FakeClock()


async def repeated(
    chore, clock, seconds, *, is_leader=lambda: True, random=None, observer=UNOBSERVED
):
    """Let a chore be repeated for a while."""
    loop = asyncio.ensure_future(
        repeat(
            chore,
            is_leader=is_leader,
            clock=clock,
            random=random or ConstantRandom(),
            observer=observer,
        )
    )
    await clock.advance(seconds)
    assert not loop.done()
    loop.cancel()
    await settle()
    assert loop.cancelled()


# ---------------------------------------------------------------- one chore


async def test_a_chore_is_begun_every_interval_however_long_it_takes(clock):
    chore = FakeChore(clock, takes=4)

    await repeated(chore, clock, 35)

    assert chore.begun == [0.0, 10.0, 20.0, 30.0]


async def test_a_pass_longer_than_the_interval_is_followed_by_one_pass(clock):
    chore = FakeChore(clock, takes=25)

    await repeated(chore, clock, 60)

    assert chore.begun == [0.0, 25.0, 50.0]


async def test_the_first_pass_comes_within_one_interval_at_random(clock):
    chores = [FakeChore(clock) for _ in range(20)]
    loops = [
        asyncio.ensure_future(
            repeat(chore, is_leader=lambda: True, clock=clock, random=Random(seed))
        )
        for seed, chore in enumerate(chores)
    ]
    await clock.advance(10)
    for loop in loops:
        loop.cancel()

    first = [chore.begun[0] for chore in chores]
    assert len(set(first)) == 20
    assert max(first) > 5 > min(first)


async def test_nothing_is_done_by_a_server_that_does_not_lead(clock):
    chore = FakeChore(clock)

    await repeated(chore, clock, 45, is_leader=lambda: 15 < clock.monotonic() < 35)

    assert chore.begun == [20.0, 30.0]


async def test_a_pass_that_fails_does_not_end_the_loop(clock, caplog):
    failures = {1: StoreUnavailableError("down"), 2: ZeroDivisionError("a bug")}
    chore = FakeChore(clock, failures=failures, done=7)
    caplog.set_level(logging.INFO)

    await repeated(chore, clock, 25)

    assert chore.begun == [0.0, 10.0, 20.0]
    broken_off, failed, done = caplog.records
    assert (broken_off.message, broken_off.reason) == ("chore broken off", "down")
    assert broken_off.exc_info is None
    assert failed.message == "chore failed"
    assert failed.exc_info[0] is ZeroDivisionError
    assert (done.message, done.chore, done.count) == ("chore done", "sweep", 7)


async def test_each_pass_is_told_but_one_that_is_cancelled(clock):
    failures = {1: StoreUnavailableError("down"), 2: ZeroDivisionError("a bug")}
    observer = RecordingObserver()

    chore = FakeChore(clock, takes=2, failures=failures, done=7)
    await repeated(chore, clock, 31, observer=observer)

    assert len(chore.begun) == 4
    assert observer.passes == [
        ("sweep", "broken_off", 0, 2.0),
        ("sweep", "failed", 0, 2.0),
        ("sweep", "done", 7, 2.0),
    ]


async def test_a_pass_that_did_nothing_is_not_worth_a_line(clock, caplog):
    caplog.set_level(logging.DEBUG)

    await repeated(FakeChore(clock, done=0), clock, 5)

    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_a_pass_that_is_cancelled_is_no_failure(clock, caplog):
    chore = FakeChore(clock, takes=100)

    await repeated(chore, clock, 5)

    assert chore.ended == [5.0]
    assert caplog.messages == []


# ---------------------------------------------------------------- all together


class Store:
    """The clock of a store that agrees with everybody."""

    def __init__(self, clock):
        self.clock = clock

    async def now(self):
        return self.clock.now()


def a_service(rival, clock, *chores):
    check = ClockCheck(store=Store(clock), clock=clock, max_offset=timedelta(seconds=10))
    return BackgroundService(
        elector=rival.elector,
        clock_check=check,
        chores=chores,
        clock=clock,
        random=ConstantRandom(),
    )


async def test_chores_are_done_by_the_leader_and_by_nobody_else(clock):
    store = LeaseStore()
    rivals = [Rival(name, store, clock) for name in "abc"]
    chores = [FakeChore(clock) for _ in rivals]
    services = [
        asyncio.ensure_future(a_service(rival, clock, chore).run())
        for rival, chore in zip(rivals, chores, strict=True)
    ]
    await clock.advance(95)

    did = {rival.me.id: chore.begun for rival, chore in zip(rivals, chores, strict=True)}
    assert did.pop(store.stored.leader.id) == [float(n) for n in range(10, 100, 10)]
    assert list(did.values()) == [[], []]
    for service in services:
        service.cancel()
    await asyncio.gather(*services, return_exceptions=True)


async def test_the_lead_is_given_up_when_the_pass_has_ended(clock):
    rival = Rival("a", LeaseStore(), clock)
    passes = []

    class Tidy(FakeChore):
        async def run_once(self):
            try:
                await super().run_once()
            finally:
                passes.append(rival.lock.store.stored.is_resigned)

    service = asyncio.ensure_future(a_service(rival, clock, Tidy(clock, takes=50)).run())
    await clock.advance(30)
    assert rival.leads
    service.cancel()
    await settle()

    assert service.cancelled()
    assert passes == [False]
    assert rival.lock.store.stored.is_resigned


async def test_without_chores_there_is_an_election_all_the_same(clock):
    rival = Rival("a", LeaseStore(), clock)
    service = asyncio.ensure_future(a_service(rival, clock).run())

    await clock.advance(LEASE + INTERVAL)

    assert rival.leads
    service.cancel()
    await settle()
    assert service.cancelled()


async def test_a_bug_in_a_loop_ends_all_loops_with_that_error(clock):
    rival = Rival("a", LeaseStore(), clock)
    chore = FakeChore(clock, takes=1000)
    service = asyncio.ensure_future(a_service(rival, clock, chore).run())
    await clock.advance(15)
    assert chore.begun == [10.0]

    async def bug():
        rival.lock.before = at_once
        raise ZeroDivisionError

    rival.lock.before = bug
    await clock.advance(INTERVAL)

    assert chore.ended != []
    with pytest.raises(ExceptionGroup) as caught:
        await service
    assert caught.group_contains(ZeroDivisionError)
