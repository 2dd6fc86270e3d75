from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from elections import INTERVAL, LEASE, Election
from fake_leader_lock import at_once
from fakes import settle

from tasques.domain.errors import CorruptDocumentError, StoreUnavailableError
from tasques.domain.lease import Leadership, Lease, Server


@pytest.fixture
async def election():
    election = Election()
    yield election
    for rival in election.rivals:  # those that hang would take their time to resign
        rival.lock.before = rival.lock.after = at_once
    await election.end()


async def down():
    raise StoreUnavailableError("down")


def a_lease_of(name, election, **members):
    values = {
        "leader": Server(name, "elsewhere", 7),
        "term": 1,
        "since": election.clock.now(),
        "write": 1,
        "written_at": election.clock.now(),
        "duration": timedelta(seconds=LEASE),
    }
    return Lease(**{**values, **members})


# ---------------------------------------------------------------- taking the lead


async def test_where_nobody_ever_led_one_server_leads_after_its_lease(election):
    server = election.join("a")

    await election.clock.advance(LEASE - 0.01)
    assert not server.leads
    await election.clock.advance(0.02)

    assert server.leads
    assert election.store.stored.leader == server.me
    assert election.store.stored.term == 1


async def test_of_many_servers_one_leads(election):
    for name in "abcde":
        election.join(name)

    await election.clock.advance(LEASE + INTERVAL)

    assert len(election.leaders) == 1


async def test_a_leader_renews_its_lease_and_stays(election):
    leader = election.join("a")
    election.join("b")
    await election.clock.advance(LEASE)
    assert leader.leads

    for _ in range(600):
        await election.clock.advance(0.1)
        assert election.leaders == [leader]

    assert {lease.term for lease in election.store.written} == {1}
    assert len(election.store.written) > 60 / INTERVAL


async def test_a_resigned_lease_is_taken_at_once(election):
    election.store.put(a_lease_of("before", election, term=41, is_resigned=True))

    server = election.join("a")
    await settle()

    assert server.leads
    assert election.store.stored.term == 42


async def test_a_lease_that_does_not_change_is_taken_when_it_is_over(election):
    election.store.put(a_lease_of("dead", election, term=41))
    server = election.join("a")

    await election.clock.advance(LEASE - 0.01)
    assert not server.leads
    await election.clock.advance(0.02)

    assert server.leads
    assert (election.store.stored.leader, election.store.stored.term) == (server.me, 42)


async def test_the_lease_that_counts_is_the_one_that_is_written(election):
    election.store.put(a_lease_of("dead", election, duration=timedelta(seconds=60)))
    server = election.join("a", lease=LEASE)

    await election.clock.advance(59.9)
    assert not server.leads
    await election.clock.advance(0.2)

    assert server.leads
    assert election.store.stored.duration == timedelta(seconds=LEASE)


async def test_nobody_is_believed_dead_for_what_their_clock_says(election):
    long_ago = election.clock.now() - timedelta(days=365)
    election.store.put(a_lease_of("other", election, since=long_ago, written_at=long_ago))
    server = election.join("a")

    for number in range(20):
        await election.clock.advance(LEASE / 2)
        assert not server.leads
        election.store.put(replace(election.store.stored, write=number))


async def test_a_lease_that_was_deleted_is_not_taken_under_a_leader_that_trusts_itself(election):
    leader = election.join("a", lease=30, interval=10)
    follower = election.join("b")
    await election.until_somebody_leads()
    if not leader.leads:
        leader, follower = follower, leader
    await election.clock.advance(10)

    election.store.stored = None
    for _ in range(1000):
        await election.clock.advance(0.1)
        assert len(election.leaders) <= 1

    assert len(election.leaders) == 1
    assert election.store.stored.term == 2


# ---------------------------------------------------------------- losing it


async def test_a_leader_that_vanishes_is_replaced_a_lease_and_an_interval_later(election):
    first = election.join("a")
    await election.until_somebody_leads()
    others = [election.join("b"), election.join("c")]
    await election.clock.advance(10)
    await first.vanish()

    await election.clock.advance(LEASE + INTERVAL)

    assert election.leaders != [first]
    assert len(election.leaders) == 1
    assert election.leaders[0] in others
    assert election.store.stored.term == 2


async def test_a_leader_that_vanished_trusts_itself_no_more_when_its_lease_is_nearly_over(election):
    first = election.join("a")
    await election.until_somebody_leads()
    await first.vanish()

    await election.clock.advance(LEASE * 0.9)

    assert not first.leads


async def test_one_renewal_that_fails_costs_nothing(election, caplog):
    leader = election.join("a")
    await election.until_somebody_leads()
    caplog.set_level(logging.INFO)

    leader.lock.before = down
    for _ in range(30):
        await election.clock.advance(0.1)
        assert leader.leads
    leader.lock.before = at_once
    await election.clock.advance(20)

    assert leader.leads
    assert {lease.term for lease in election.store.written} == {1}
    assert [record.message for record in caplog.records] == ["the leader's lease is out of reach"]


async def test_a_leader_that_can_not_renew_steps_down_and_returns(election):
    leader = election.join("a")
    await election.until_somebody_leads()

    leader.lock.before = down
    await election.clock.advance(LEASE)
    assert not leader.leads
    leader.lock.before = at_once
    await election.clock.advance(INTERVAL)

    assert leader.leads
    assert election.store.stored.term == 1


async def test_a_renewal_whose_answer_was_lost_is_found_again(election):
    leader = election.join("a")
    other = election.join("b")
    await election.until_somebody_leads()
    if other.leads:
        leader, other = other, leader

    for _ in range(10):
        leader.lock.after = down
        await election.clock.advance(INTERVAL)
        leader.lock.after = at_once
        await election.clock.advance(INTERVAL)
        assert election.leaders == [leader]

    assert {lease.term for lease in election.store.written} == {1}


async def test_a_takeover_whose_answer_was_lost_is_found_again(election):
    election.store.put(a_lease_of("dead", election))
    server = election.join("a")
    await election.clock.advance(LEASE - 0.5)

    async def lose_the_answer_to_a_takeover():
        if election.store.stored.leader == server.me:
            await down()

    server.lock.after = lose_the_answer_to_a_takeover
    await election.clock.advance(1)
    assert election.store.stored.leader == server.me
    assert not server.leads

    server.lock.after = at_once
    await election.clock.advance(INTERVAL)

    assert server.leads
    assert election.store.stored.term == 2


async def test_a_leader_that_was_replaced_knows_it_at_its_next_write(election):
    leader = election.join("a")
    await election.until_somebody_leads()

    usurper = a_lease_of("b", election, term=2, version=election.store.stored.version)
    election.store.put(usurper)
    await election.clock.advance(INTERVAL)

    assert not leader.leads
    assert election.store.stored.leader == usurper.leader
    assert leader.elector.leadership() == Leadership(election.store.stored, is_this_server=False)


async def test_a_server_that_slept_past_its_lease_never_trusts_itself_meanwhile(election):
    sleeper = election.join("a")
    await election.until_somebody_leads()
    sleeper.running.cancel()  # what is asleep takes no turns
    other = election.join("b")

    election.clock._elapsed += 3 * LEASE  # and wakes into a later time
    assert not sleeper.leads
    await election.clock.advance(3 * LEASE)

    assert election.leaders == [other]


# ---------------------------------------------------------------- giving it up


async def test_a_leader_that_ends_is_followed_within_an_interval(election):
    first = election.join("a")
    await election.until_somebody_leads()
    election.join("b")
    await election.clock.advance(3)

    await first.stop()
    assert not first.leads
    assert election.store.stored.is_resigned
    await election.clock.advance(INTERVAL)

    assert [rival.me.id for rival in election.leaders] == ["b"]
    assert election.store.stored.term == 2


async def test_a_leader_that_ends_during_a_renewal_resigns_all_the_same(election):
    leader = election.join("a")
    await election.until_somebody_leads()
    written = len(election.store.written)

    async def answer_late():
        await election.clock.sleep(0.1)

    leader.lock.after = answer_late
    while len(election.store.written) == written:
        await election.clock.advance(0.05)
    leader.running.cancel()
    await election.clock.advance(1)

    assert leader.running.done()
    assert election.store.stored.is_resigned


async def test_a_follower_that_ends_takes_nothing_from_the_leader(election):
    leader = election.join("a")
    await election.until_somebody_leads()
    follower = election.join("b")
    await election.clock.advance(2)

    await follower.stop()

    assert not election.store.stored.is_resigned
    assert leader.leads


async def test_an_end_does_not_depend_on_the_store(election, caplog):
    leader = election.join("a")
    await election.until_somebody_leads()

    leader.lock.before = down
    await leader.stop()

    assert not leader.leads
    assert leader.running.cancelled()
    assert "could not give up the lead" in caplog.messages


async def test_who_is_not_fit_does_not_lead_and_lets_others(election):
    unfit = election.join("a")
    await election.until_somebody_leads()
    other = election.join("b")
    await election.clock.advance(2)

    unfit.is_fit = False
    assert not unfit.leads
    await election.clock.advance(2 * INTERVAL)
    assert election.leaders == [other]
    await other.stop()
    await election.clock.advance(3 * LEASE)
    assert election.leaders == []

    unfit.is_fit = True
    await election.clock.advance(INTERVAL)
    assert election.leaders == [unfit]


# ---------------------------------------------------------------- what is said


async def test_everybody_knows_who_leads(election):
    leader = election.join("a")
    await election.until_somebody_leads()
    follower = election.join("b")
    await election.clock.advance(1)

    assert leader.elector.leadership() == Leadership(election.store.stored, is_this_server=True)
    assert follower.elector.leadership().lease.leader == leader.me
    assert not follower.elector.leadership().is_this_server


async def test_nobody_is_said_to_lead_when_nobody_does(election):
    nobody = Leadership(None, is_this_server=False)
    server = election.join("a")
    assert server.elector.leadership() == nobody
    await settle()
    assert server.elector.leadership() == nobody

    await election.until_somebody_leads()
    await server.vanish()
    await election.clock.advance(LEASE)

    assert server.elector.leadership() == nobody


async def test_changes_are_logged_once(election, caplog):
    caplog.set_level(logging.INFO)
    first = election.join("a")
    await election.until_somebody_leads()
    election.join("b")
    await election.clock.advance(20)
    await first.stop()
    await election.clock.advance(20)

    assert caplog.messages == [
        "this server leads",
        "another server leads",
        "gave up the lead",
        "this server leads",
    ]


async def test_a_broken_lease_is_reported_and_replaced_by_nobody(election, caplog):
    async def broken():
        raise CorruptDocumentError("leader", "no pid")

    server = election.join("a")
    server.lock.before = broken
    await election.clock.advance(10 * LEASE)

    assert not server.leads
    assert [record.reason for record in caplog.records] == [
        "The stored document 'leader' is broken: no pid"
    ]


async def test_a_bug_ends_the_elector(election):
    async def bug():
        raise ZeroDivisionError

    server = election.join("a")
    server.lock.before = bug

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(server.running, 60)
