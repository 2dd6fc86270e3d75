from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_task
from fakes import Operation, settle
from shop import Shop, ids, running, some_tasks

from tasques.domain.errors import StoreUnavailableError, UnresolvedWriteError
from tasques.domain.task import TaskState
from tasques.services.broker_limits import BrokerLimits
from tasques.services.claims import DEALT_AT_A_TURN
from tasques.services.last_seen import LastSeen


async def cancelled(claim):
    """Cancel a claim, and let all that follows from it happen."""
    claim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claim
    await settle()


def same(tasks, others):
    """Whether the tasks are the same but for their versions."""
    return [each._replace(version=None) for each in tasks] == [
        each._replace(version=None) for each in others
    ]


def a_failed_task():
    return a_claimed_task(id="failed").fail(
        worker_id="worker-1", at=START, failure=None, retry_at=START - timedelta(seconds=1)
    )


async def test_a_claim_that_is_cancelled_while_it_waits_takes_nothing(shop):
    claim = await shop.park("gone")

    await cancelled(claim)
    await shop.enqueue("new")
    await shop.clock.advance(1)

    assert shop.broker.parked == 0
    assert shop.updates == 0
    assert ids(await shop.claim("alive")) == ["new"]


async def test_a_claim_that_is_cancelled_while_its_search_is_under_way_takes_nothing(shop):
    await shop.lay(a_task())
    may_search = asyncio.Event()
    shop.tasks.before_search = may_search.wait
    claim = await shop.park("gone")

    await cancelled(claim)
    may_search.set()
    await settle()

    assert shop.updates == 0


async def test_what_is_being_written_for_a_cancelled_claim_is_given_back_as_it_was(shop):
    before = await shop.lay(a_task(), a_failed_task())
    may_write = asyncio.Event()
    shop.tasks.before_update = lambda _: may_write.wait()
    claim = await shop.park("gone", amount=2)

    await cancelled(claim)
    may_write.set()
    await settle()

    assert same(shop.tasks.stored, before)
    assert [task.attempted for task in shop.tasks.stored] == [0, 1]
    assert shop.updates == 4
    assert len(shop.background) == 0
    assert shop.last_seen.find("mail", "task-1") is None


async def test_what_a_cancelled_claim_holds_already_is_given_back_too(shop):
    before = await shop.lay(*some_tasks(DEALT_AT_A_TURN + 1))
    may_write = asyncio.Event()

    async def hold_up_the_last(task):
        if task.id == before[-1].id:
            await may_write.wait()

    shop.tasks.before_update = hold_up_the_last
    claim = await shop.park("gone", amount=DEALT_AT_A_TURN + 1)
    await settle()
    assert shop.tasks.stored[0].state is TaskState.CLAIMED
    assert shop.last_seen.find("mail", "00000") is not None

    await cancelled(claim)
    assert same(shop.tasks.stored, before)
    may_write.set()
    await settle()

    assert same(shop.tasks.stored, before)
    assert shop.updates == 2 * (DEALT_AT_A_TURN + 1)
    assert shop.last_seen.find("mail", "00000") is None


async def test_what_was_answered_to_somebody_who_does_not_take_it_is_given_back():
    class CancellingOnAnswer(LastSeen):
        """Has the claim cancelled after it was answered, and before it can go on."""

        def remember(self, task):
            super().remember(task)
            asyncio.get_running_loop().call_soon(claim.cancel)

    async with running(Shop(last_seen=CancellingOnAnswer(max_tasks=9, max_bytes=9_999))) as shop:
        before = await shop.lay(a_task())
        claim = shop.begin("gone")

        with pytest.raises(asyncio.CancelledError):
            await claim
        await settle()

        assert same(shop.tasks.stored, before)
        assert shop.updates == 2
        assert len(shop.last_seen) == 0


async def test_an_answer_that_can_not_be_delivered_is_taken_back(shop):
    before = await shop.lay(*some_tasks(3), a_failed_task())
    claimed = await shop.claim(amount=4)
    assert {task.state for task in shop.tasks.stored} == {TaskState.CLAIMED}

    shop.broker.give_back(claimed)
    await settle()

    assert same(shop.tasks.stored, before)
    assert len(shop.last_seen) == 0


async def test_a_cancelled_claim_whose_writes_nobody_knows_of_is_undone(shop):
    before = await shop.lay(a_task())
    may_write = asyncio.Event()
    shop.tasks.before_update = lambda _: may_write.wait()
    shop.tasks.fail_next(UnresolvedWriteError("mail", "task-1"), of=Operation.UPDATE, landed=True)
    claim = await shop.park("gone")

    await cancelled(claim)
    may_write.set()
    await settle()

    assert same(shop.tasks.stored, before)


async def test_giving_back_goes_on_while_the_store_is_away(shop):
    before = await shop.lay(a_task())
    claimed = await shop.claim()
    for _ in range(3):
        shop.tasks.fail_next(StoreUnavailableError("down"))

    shop.broker.give_back(claimed)
    await shop.clock.advance(5)

    assert same(shop.tasks.stored, before)


async def test_a_cancelled_claim_leaves_its_place_to_the_next(shop):
    first, second = await shop.park("first", "second")
    await cancelled(first)

    await shop.enqueue("new")

    assert ids(await second) == ["new"]


async def test_the_outcome_of_a_cancelled_claim_lets_the_next_one_be_dealt():
    async with running(Shop(limits=BrokerLimits(max_in_flight=1))) as shop:
        await shop.lay(a_task(id="a", queue="a"), a_task(id="b", queue="b"))
        may_write = asyncio.Event()
        shop.tasks.before_update = lambda _: may_write.wait()
        gone = await shop.park("gone", queues=("a",))
        alive = await shop.park("alive", queues=("b",))
        assert shop.updates == 1

        await cancelled(gone)
        may_write.set()
        await settle()

        assert ids(alive.result()) == ["b"]


async def test_cancelling_many_claims_at_random_loses_nothing(shop):
    number = 60
    await shop.lay(*some_tasks(number))
    held = []
    for turn in range(200):
        claims = [shop.begin(f"{turn}-{each}", amount=each) for each in range(1, 6)]
        for _ in range(turn % 23):
            await asyncio.sleep(0)
        for claim in claims[turn % 3 :]:
            claim.cancel()
        await shop.clock.advance(0.3)
        for claim in claims:
            if claim.done() and not claim.cancelled():
                held += claim.result()
            claim.cancel()
        await asyncio.gather(*claims, return_exceptions=True)
        await shop.clock.advance(0.3)
        if turn % 4 == 0:
            shop.broker.give_back(held)
            held = []
        await settle()
        claimed = {task.id for task in shop.tasks.stored if task.state is TaskState.CLAIMED}
        assert claimed == set(ids(held))
        assert len(held) == len(claimed)

    assert all(task.attempted == (task.id in ids(held)) for task in shop.tasks.stored)
