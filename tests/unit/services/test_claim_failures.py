from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_task
from fakes import Operation, settle
from shop import NO_TIME, ids, some_tasks

from tasques.domain.errors import (
    OverloadedError,
    StoreRejectedError,
    StoreUnavailableError,
    TooLargeError,
    UnavailableError,
    UnresolvedWriteError,
)
from tasques.domain.task import TaskState
from tasques.services import claims
from tasques.services.claims import DEALT_AT_A_TURN

A_MOMENT = timedelta(milliseconds=20)


@pytest.fixture
def short_grace(monkeypatch):
    """Let the patience with a store that does not answer end soon."""
    monkeypatch.setattr(claims, "_GRACE_SECONDS", 0.05)


def down():
    return StoreUnavailableError("down")


async def fail(*_):
    raise down()


async def wait_for_ever(*_):
    await asyncio.Event().wait()


def as_before(task, before):
    return task._replace(version=None) == before._replace(version=None)


# ---------------------------------------------------------------- searches


async def test_while_searches_fail_claims_wait_on_and_are_served_when_they_work_again(shop):
    await shop.lay(a_task())
    shop.tasks.before_search = fail
    claim = await shop.park("worker-1")
    await shop.clock.advance(5)
    assert not claim.done()

    shop.tasks.before_search = None
    await shop.clock.advance(1)

    assert ids(await claim) == ["task-1"]


async def test_a_claim_whose_time_is_over_while_searches_fail_is_told_so(shop):
    shop.tasks.before_search = fail

    with pytest.raises(StoreUnavailableError, match="down"):
        await shop.claim(block_for=A_MOMENT)


async def test_each_claim_gets_an_error_of_its_own(shop):
    shop.tasks.before_search = fail
    claims = [shop.begin(f"{each}", block_for=A_MOMENT) for each in range(5)]

    errors = await asyncio.gather(*claims, return_exceptions=True)

    assert len({id(error) for error in errors}) == 5
    assert {type(error) for error in errors} == {StoreUnavailableError}


async def test_a_claim_that_does_not_wait_is_told_at_once_that_searches_fail(shop):
    shop.tasks.before_search = fail

    with pytest.raises(StoreUnavailableError, match="down"):
        await shop.claim(block_for=NO_TIME)


async def test_a_refresh_that_fails_is_a_search_that_fails(shop):
    claim = await shop.park("worker-1")
    shop.tasks.fail_next(down(), of=Operation.REFRESH)
    shop.tasks.store(a_task())

    await shop.clock.advance(0.4)
    assert not claim.done()
    await shop.clock.advance(1)

    assert ids(await claim) == ["task-1"]


async def test_searches_that_fail_are_not_repeated_in_a_hurry(shop):
    shop.tasks.before_search = fail
    parked = await shop.park("a", "b", "c")
    others = [await shop.park("d", queues=(f"{each}",)) for each in range(5)]

    await shop.clock.advance(10)

    assert 10 <= shop.searches <= 30
    for claim in (*parked, *others):
        claim.cancel()


async def test_an_answer_that_can_not_be_read_does_not_end_the_searching(shop, caplog):
    async def stumble():
        raise KeyError("responses")

    shop.tasks.before_search = stumble
    claim = await shop.park("worker-1")
    shop.tasks.before_search = None
    shop.tasks.store(a_task())
    await shop.clock.advance(1)

    assert ids(await claim) == ["task-1"]
    assert {record.message for record in caplog.records} == {"a search for claimable tasks failed"}


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("block_for", [NO_TIME, A_MOMENT])
async def test_a_search_that_is_never_answered_does_not_hold_claims_up(shop, block_for):
    shop.tasks.before_search = wait_for_ever

    with pytest.raises(UnavailableError):
        await shop.claim(block_for=block_for)

    assert shop.broker.parked == 0


# ---------------------------------------------------------------- writes


@pytest.mark.parametrize("landed", [True, False])
async def test_a_claim_of_unknown_fate_is_an_error_and_undone(shop, landed):
    (before,) = await shop.lay(a_task())
    error = UnresolvedWriteError("mail", "task-1")
    shop.tasks.fail_next(error, of=Operation.UPDATE, landed=landed)

    with pytest.raises(UnresolvedWriteError):
        await shop.claim()
    await settle()

    assert as_before(*shop.tasks.stored, before)
    (again,) = await shop.claim()
    assert again.task.attempted == 1


@pytest.mark.parametrize("landed", [True, False])
async def test_a_failed_task_keeps_its_history_through_a_claim_of_unknown_fate(shop, landed):
    (before,) = await shop.lay(
        a_claimed_task().fail(
            worker_id="worker-1", at=START, failure='{"a":1}', retry_at=START - timedelta(seconds=1)
        )
    )
    error = UnresolvedWriteError("mail", "task-1")
    shop.tasks.fail_next(error, of=Operation.UPDATE, landed=landed)

    with pytest.raises(UnresolvedWriteError):
        await shop.claim()
    await settle()

    assert as_before(*shop.tasks.stored, before)


async def test_a_claim_gets_what_could_be_written_when_something_could_not(shop):
    _, before = await shop.lay(*some_tasks(2))

    async def fail_the_second(task):
        if task.id == "00001" and task.state is TaskState.CLAIMED:
            raise down()

    shop.tasks.before_update = fail_the_second

    assert ids(await shop.claim(amount=2)) == ["00000"]
    await settle()
    assert as_before(shop.tasks.stored[1], before)
    assert shop.last_seen.find("mail", "00001") is None


async def test_a_write_that_was_not_even_tried_is_not_undone(shop):
    await shop.lay(a_task())
    shop.tasks.fail_next(OverloadedError("full"), of=Operation.UPDATE)

    with pytest.raises(OverloadedError):
        await shop.claim()
    await settle()

    assert shop.updates == 1
    assert ids(await shop.look()) == ["task-1"]


async def test_while_the_store_takes_no_writes_every_claim_is_told_so_and_nothing_is_lost(shop):
    before = await shop.lay(*some_tasks(5))
    shop.tasks.before_update = fail

    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await shop.look(amount=5)
    shop.tasks.before_update = None
    await shop.clock.advance(60)
    await shop.tasks.refresh()

    assert all(map(as_before, shop.tasks.stored, before))
    assert ids(await shop.look(amount=5)) == [task.id for task in before]


async def test_a_document_that_is_no_task_is_reported_once_and_hurts_nobody(shop, caplog):
    await shop.lay(*some_tasks(3))
    shop.tasks.break_document("mail", "00000")
    await shop.tasks.refresh()

    assert ids(await shop.claim(amount=2)) == ["00001", "00002"]
    idle = await shop.park("idle")
    await shop.clock.advance(10)
    idle.cancel()
    assert [record.message for record in caplog.records] == ["a task can not be claimed"]
    assert shop.updates == 2


@pytest.mark.parametrize(
    "error", [StoreRejectedError("no"), TooLargeError("too large"), RuntimeError("a bug")]
)
async def test_a_task_that_can_not_be_claimed_does_not_hold_the_others_up(shop, caplog, error):
    await shop.lay(*some_tasks(2))
    shop.tasks.fail_next(error, of=Operation.UPDATE)

    assert ids(await shop.claim()) == ["00001"]
    await settle()

    assert len(caplog.records) == 1


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("block_for", [NO_TIME, A_MOMENT])
async def test_a_write_that_is_not_answered_does_not_hold_a_claim_up(shop, block_for):
    (before,) = await shop.lay(a_task())
    may_write = asyncio.Event()
    shop.tasks.before_update = lambda _: may_write.wait()

    with pytest.raises(UnavailableError):
        await shop.claim(block_for=block_for)
    may_write.set()
    await settle()

    assert as_before(*shop.tasks.stored, before)
    assert shop.updates == 2


@pytest.mark.usefixtures("short_grace")
async def test_what_was_written_in_time_is_answered_and_the_rest_undone(shop):
    before = await shop.lay(*some_tasks(DEALT_AT_A_TURN + 1))
    may_write = asyncio.Event()

    async def hold_up_the_last(task):
        if task.id == before[-1].id:
            await may_write.wait()

    shop.tasks.before_update = hold_up_the_last

    claimed = await shop.claim(amount=100, block_for=A_MOMENT)
    assert ids(claimed) == [task.id for task in before[:-1]]
    may_write.set()
    await settle()

    assert as_before(shop.tasks.stored[-1], before[-1])
    assert shop.tasks.stored[0].state is TaskState.CLAIMED
