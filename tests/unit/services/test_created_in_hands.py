"""New tasks that are stored in the hands of a worker that waits for them, by one write."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from factories import START, a_task
from fakes import Operation, settle
from shop import Shop, ids, running

from tasques.domain.errors import (
    OverloadedError,
    StoreRejectedError,
    StoreUnavailableError,
    TaskAlreadyExistsError,
    TooLargeError,
    UnresolvedWriteError,
)
from tasques.domain.task import TaskState
from tasques.services import claims
from tasques.services.broker_limits import BrokerLimits
from tasques.services.slots import Slots

A_MOMENT = timedelta(milliseconds=20)


@pytest.fixture
def held_up(shop):
    """What lets creates go on, which wait for it."""
    may_write = asyncio.Event()
    shop.tasks.before_create = lambda _: may_write.wait()
    return may_write


def is_free(task):
    """Whether anybody may have it, and nobody ever had."""
    return task.state is TaskState.QUEUED and task.attempted == 0


# ---------------------------------------------------------------- who gets what


async def test_a_new_task_goes_to_who_waits_by_the_write_that_creates_it(shop):
    claim = await shop.park("worker-1")
    shop.tasks.calls.clear()

    created = await shop.enqueue("new")
    await settle()

    (claimed,) = claim.result()
    assert claimed.before == created
    assert is_free(created)
    assert shop.tasks.stored == [claimed.task]
    assert claimed.task.last_claimed.worker_id == "worker-1"
    assert claimed.task.attempted == 1
    assert shop.tasks.calls == {Operation.CREATE: 1}


async def test_its_worker_ends_it_without_a_read(shop):
    claim = await shop.park("worker-1")
    await shop.enqueue("new")
    await claim
    shop.tasks.calls.clear()

    await shop.service.complete("mail", "new", worker_id="worker-1", success=None)

    assert shop.tasks.calls == {Operation.UPDATE: 1}


async def test_who_came_first_gets_it_whatever_else_it_waits_for(shop):
    claims = [
        await shop.park("a", queues=("mail", "other")),
        await shop.park("b", queues=()),
        await shop.park("c", queues=("mail",)),
        await shop.park("d", queues=("other",)),
    ]

    for each in ("1", "2", "3"):
        await shop.enqueue(each)
        await settle()

    assert [ids(await claim) for claim in claims[:3]] == [["1"], ["2"], ["3"]]
    assert shop.updates == 0
    claims[3].cancel()


async def test_who_wants_several_gets_those_that_come_together(shop):
    claim = await shop.park("worker-1", amount=3)

    await asyncio.gather(*(shop.enqueue(f"{each}", priority=each) for each in range(4)))

    assert ids(await claim) == ["2", "1", "0"]
    assert sorted(map(is_free, shop.tasks.stored)) == [False, False, False, True]


async def test_a_task_of_another_process_goes_to_who_waits_here(shop):
    shop.slots.count = 2
    claims = await shop.park("a", "b")
    names = [str(number) for number in range(100)]
    own = next(name for name in names if shop.slots.is_own(name))
    foreign = next(name for name in names if not shop.slots.is_own(name))

    await shop.enqueue(foreign)
    await shop.enqueue(own)

    assert [ids(await claim) for claim in claims] == [[foreign], [own]]
    assert shop.updates == 0


# ---------------------------------------------------------------- who gets nothing


async def test_what_is_not_due_is_created_free(shop):
    claim = await shop.park("worker-1")

    created = await shop.enqueue("later", run_at=START + timedelta(seconds=10))

    assert shop.tasks.stored == [created]
    assert is_free(created)
    claim.cancel()


async def test_what_goes_before_it_is_handed_out_first():
    """It was found, but could not be dealt yet: only so many claims may be under way."""
    async with running(Shop(limits=BrokerLimits(max_in_flight=1))) as shop:
        await shop.lay(a_task(id="1"), a_task(id="2"))
        may_write = asyncio.Event()
        shop.tasks.before_update = lambda _: may_write.wait()
        claims = await shop.park("a", "b", "c")

        assert is_free(await shop.enqueue("new"))
        may_write.set()

        assert [ids(await claim) for claim in claims] == [["1"], ["2"], ["new"]]


async def test_what_waits_for_its_owner_is_not_overtaken():
    """Another process's task of a higher priority lies there still."""
    async with running(Shop(slots=Slots(0, 2))) as shop:
        foreign = next(f"{each}" for each in range(9) if not shop.slots.is_own(f"{each}"))
        await shop.lay(a_task(id=foreign, priority=1))
        claim = await shop.park("worker-1", amount=2)
        assert not claim.done()

        assert is_free(await shop.enqueue("new"))

        assert ids(await claim) == [foreign, "new"]


async def test_at_the_end_tasks_are_created_free(shop):
    shop.broker.close()

    assert is_free(await shop.enqueue("new"))


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "error",
    [
        TaskAlreadyExistsError("mail", "new"),
        StoreUnavailableError("down"),
        OverloadedError("full"),
        StoreRejectedError("no"),
        TooLargeError("too much"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_task_that_was_not_created_leaves_its_worker_waiting(shop, error):
    claim = await shop.park("worker-1")
    shop.tasks.fail_next(error, of=Operation.CREATE)

    with pytest.raises(type(error)):
        await shop.enqueue("new")
    await shop.clock.advance(1)
    assert not claim.done()
    assert shop.tasks.stored == []
    await shop.enqueue("next")

    assert ids(await claim) == ["next"]


@pytest.mark.parametrize("landed", [True, False])
async def test_after_a_create_of_unknown_fate_the_task_is_free_and_handed_out(shop, landed):
    """Nobody was told that it holds the task, so the attempt must not count."""
    claim = await shop.park("worker-1")
    error = UnresolvedWriteError("mail", "new")
    shop.tasks.fail_next(error, of=Operation.CREATE, landed=landed)

    with pytest.raises(UnresolvedWriteError):
        await shop.enqueue("new")

    (claimed,) = await claim
    assert claimed.task.attempted == 1
    assert shop.tasks.stored == [claimed.task]


@pytest.mark.parametrize("landed", [True, False])
async def test_a_create_of_unknown_fate_can_not_take_place_later(shop, landed):
    claim = await shop.park("worker-1")
    first = []

    async def remember(task):
        first.append(task)

    shop.tasks.before_create = remember
    error = UnresolvedWriteError("mail", "new")
    shop.tasks.fail_next(error, of=Operation.CREATE, landed=landed)
    with suppress(UnresolvedWriteError):
        await shop.enqueue("new")
    await claim
    before = shop.tasks.stored

    await shop.tasks.create(first[0])

    assert shop.tasks.stored == before


@pytest.mark.parametrize(
    "change",
    [
        lambda task: task.unclaim(worker_id="worker-1", at=START),
        lambda task: task.time_out(at=START, retry_at=START + timedelta(hours=1)),
    ],
    ids=["unclaimed", "timed out"],
)
async def test_a_task_that_has_changed_when_its_creation_is_known_is_nobodys(shop, change):
    """Elasticsearch repeats a write by itself, so the answer may be late."""
    claim = await shop.park("worker-1")

    async def be_late(task):
        shop.tasks.store(change(task))

    shop.tasks.before_create = be_late
    created = await shop.enqueue("new")
    await settle()

    assert is_free(created)
    assert not claim.done()
    assert shop.tasks.stored[0].version == created.version
    assert shop.last_seen.find("mail", "new") is None
    claim.cancel()


# ---------------------------------------------------------------- workers that go


async def test_a_task_whose_worker_goes_is_created_and_free(shop, held_up):
    claim = await shop.park("gone")
    creating = asyncio.create_task(shop.enqueue("new"))
    await settle()

    claim.cancel()
    await settle()
    held_up.set()
    await creating
    await settle()

    assert list(map(is_free, shop.tasks.stored)) == [True]
    assert shop.last_seen.find("mail", "new") is None
    assert ids(await shop.claim("other")) == ["new"]


async def test_a_worker_whose_time_is_over_gets_what_is_being_created_for_it(shop, held_up):
    claim = await shop.park("worker-1", block_for=A_MOMENT)
    creating = asyncio.create_task(shop.enqueue("new"))
    await asyncio.sleep(2 * A_MOMENT.total_seconds())
    assert not claim.done()

    held_up.set()
    await creating

    assert ids(await claim) == ["new"]


async def test_a_worker_does_not_wait_for_ever_for_what_is_being_created(
    shop, held_up, monkeypatch
):
    monkeypatch.setattr(claims, "_GRACE_SECONDS", 0.05)
    claim = await shop.park("worker-1", block_for=A_MOMENT)
    creating = asyncio.create_task(shop.enqueue("new"))
    with pytest.raises(StoreUnavailableError):
        await claim

    held_up.set()
    await creating
    await settle()

    assert list(map(is_free, shop.tasks.stored)) == [True]


# ---------------------------------------------------------------- clients that go


async def test_a_create_that_is_cancelled_leaves_the_worker_waiting_and_the_task_free(
    shop, held_up
):
    claim = await shop.park("worker-1")
    creating = asyncio.create_task(shop.enqueue("new"))
    await settle()

    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    held_up.set()

    assert ids(await claim) == ["new"]
    assert shop.tasks.stored[0].attempted == 1
