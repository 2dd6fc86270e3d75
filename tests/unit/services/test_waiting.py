from __future__ import annotations

import asyncio

from shop import Shop, ids, running, some_tasks

from tasques.services.broker_limits import BrokerLimits
from tasques.services.candidates import CandidateBuffer, GoneVersions
from tasques.services.slots import Slots
from tasques.services.waiting import QueueSet, Waiter


def waiter(number, *, amount=1):
    return Waiter(
        number=number,
        worker_id=f"{number}",
        amount=amount,
        arrived_at=0.0,
        looks_once=False,
        answer=asyncio.get_running_loop().create_future(),
    )


def queue_set():
    return QueueSet(queues=("mail",), buffer=CandidateBuffer(Slots(), GoneVersions(1)))


async def test_who_wants_something_again_keeps_the_place_of_the_arrival():
    waiting = queue_set()
    first, second = waiter(1), waiter(2)
    waiting.add(first)
    waiting.add(second)
    first.in_flight = 1
    assert waiting.first_wanting() is second

    first.in_flight = 0  # it lost its race
    waiting.want(first)

    assert waiting.first_wanting() is first
    assert set(waiting.wanting()) == {first, second}


async def test_who_has_all_that_it_asked_for_wants_nothing():
    waiting = queue_set()
    one = waiter(1, amount=2)
    waiting.add(one)

    one.in_flight = 2
    waiting.want(one)

    assert waiting.first_wanting() is None
    assert list(waiting.wanting()) == []


async def test_those_who_left_are_not_kept_because_of_one_who_stays():
    waiting = queue_set()
    oldest = waiter(0)
    waiting.add(oldest)
    for number in range(1, 1000):
        gone = waiter(number)
        waiting.add(gone)
        waiting.remove(gone)

    assert len(waiting._wanting) < 100
    assert waiting.first_wanting() is oldest


async def test_searches_grow_with_what_is_used_up_and_shrink_when_it_is_not():
    limits = BrokerLimits(max_search=900)
    async with running(Shop(limits=limits)) as shop:
        await shop.lay(*some_tasks(3000))
        taken = 0
        while taken < 3000:
            taken += len(ids(await shop.claim(amount=10)))
        grown = max(search.size for search in shop.tasks.searches)
        idle = await shop.park("idle")
        await shop.clock.advance(10)
        idle.cancel()

    assert shop.tasks.searches[0].size == 50
    assert grown == 900
    assert shop.tasks.searches[-1].size == 50
