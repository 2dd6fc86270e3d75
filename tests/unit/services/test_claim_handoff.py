from __future__ import annotations

import asyncio
from datetime import timedelta

from factories import START, a_task
from fakes import settle
from shop import Shop, ids, running, some_tasks

from tasques.services.broker_limits import BrokerLimits


async def test_new_tasks_of_a_batch_go_to_who_waits_without_search_or_refresh(shop):
    claim = await shop.park("worker-1")
    shop.tasks.calls.clear()

    (task,) = await shop.enqueue_all({"id": "new"})
    await settle()

    (claimed,) = claim.result()
    assert claimed.before == task
    assert shop.searches == 0
    assert shop.refreshes == 0
    assert shop.updates == 1


async def test_new_tasks_reach_every_set_of_queues_that_they_belong_to(shop):
    claims = [
        await shop.park("a", queues=("mail",)),
        await shop.park("b", queues=("mail", "other")),
        await shop.park("c", queues=()),
        await shop.park("d", queues=("other",)),
    ]
    shop.tasks.calls.clear()

    for each in range(3):
        await shop.enqueue(f"{each}")
    await settle()

    assert [claim.done() for claim in claims] == [True, True, True, False]
    assert shop.searches == 0
    claims[-1].cancel()


async def test_several_new_tasks_are_handed_out_in_claim_order(shop):
    claims = await shop.park("a", "b", "c")

    await shop.enqueue_all(
        {"id": "last", "priority": -1},
        {"id": "second", "run_at": START - timedelta(seconds=1)},
        {"id": "third"},
        {"id": "first", "priority": 1},
    )

    assert [ids(await claim) for claim in claims] == [["first"], ["second"], ["third"]]


async def test_a_task_that_is_not_due_is_not_handed_out(shop):
    claim = await shop.park("worker-1")

    await shop.enqueue("later", run_at=START + timedelta(seconds=10))
    await shop.clock.advance(9.9)
    assert not claim.done()
    await shop.clock.advance(1)

    assert ids(await claim) == ["later"]


async def test_who_has_yet_to_search_does_not_jump_the_backlog(shop):
    await shop.lay(a_task(id="urgent", priority=1))
    may_search = asyncio.Event()
    shop.tasks.before_search = may_search.wait
    claim = await shop.park("worker-1")

    await shop.enqueue("new")
    await settle()
    assert not claim.done()
    may_search.set()

    assert ids(await claim) == ["urgent"]


async def test_a_new_task_does_not_overtake_the_next_page_of_a_deep_queue():
    async with running(Shop(limits=BrokerLimits(max_search=10))) as shop:
        await shop.lay(*some_tasks(30, priority=1))
        await shop.claim(amount=10)
        may_search = asyncio.Event()
        shop.tasks.before_search = may_search.wait
        claim = await shop.park("next")

        await shop.enqueue("new")
        await settle()
        assert not claim.done()
        may_search.set()

        assert ids(await claim) == ["00010"]


async def test_a_new_task_of_a_higher_priority_overtakes_a_deep_queue():
    async with running(Shop(limits=BrokerLimits(max_search=10))) as shop:
        await shop.lay(*some_tasks(30))
        await shop.claim(amount=2)

        await shop.enqueue("urgent", priority=1)

        assert ids(await shop.claim(amount=2)) == ["urgent", "00002"]


async def test_an_unclaimed_task_waits_for_the_next_poll(shop):
    await shop.enqueue("unwanted")
    await shop.claim("picky")
    claim = await shop.park("other")

    await shop.service.unclaim("mail", "unwanted", worker_id="picky")
    await settle()
    assert not claim.done()
    await shop.clock.advance(0.5)

    assert ids(await claim) == ["unwanted"]


async def test_a_claim_that_is_given_back_goes_to_who_waits(shop):
    (task,) = await shop.lay(a_task())
    claimed = await shop.claim("gone")
    claim = await shop.park("alive")
    shop.tasks.calls.clear()

    shop.broker.give_back(claimed)
    await settle()

    (again,) = claim.result()
    assert again.before._replace(version=None) == task._replace(version=None)
    assert again.task.attempted == 1
    assert shop.searches == 0


async def test_a_task_that_was_created_while_nobody_waited_is_there_before_a_refresh(shop):
    await shop.enqueue("new")

    assert ids(await shop.look()) == ["new"]
    assert shop.refreshes == 0


async def test_new_tasks_are_merged_with_what_the_index_shows(shop):
    await shop.lay(a_task(id="2", priority=2), a_task(id="4"))
    await shop.enqueue("1", priority=3)
    await shop.enqueue("3", priority=1)

    assert ids(await shop.claim(amount=4)) == ["1", "2", "3", "4"]
    assert shop.refreshes == 0


async def test_a_task_that_is_known_twice_is_dealt_once(shop):
    await shop.enqueue("new")
    await shop.tasks.refresh()

    assert ids(await shop.claim(amount=5)) == ["new"]
    assert shop.updates == 1


async def test_what_was_not_taken_in_seconds_is_left_to_the_index(shop):
    await shop.enqueue("new")
    await shop.clock.advance(4)

    assert await shop.look() == []
    await shop.tasks.refresh()
    assert ids(await shop.look()) == ["new"]


async def test_an_offer_that_loses_its_race_is_dropped(shop):
    claim = await shop.park("worker-1")

    async def be_faster(task):
        shop.tasks.store(a_task(id=task.id).claim(worker_id="x", at=START, claim_id="x"))

    shop.tasks.before_update = be_faster
    await shop.enqueue_all({"id": "new"})
    await shop.clock.advance(5)

    assert not claim.done()
    assert shop.updates == 1
    claim.cancel()


async def test_offers_after_the_end_are_ignored(shop):
    shop.broker.close()

    await shop.enqueue("new")
    await settle()

    assert shop.updates == 0


async def test_new_tasks_that_nobody_asks_for_are_remembered_within_bounds():
    limits = BrokerLimits(max_ready=100)
    async with running(Shop(limits=limits)) as shop:
        for each in range(300):
            await shop.enqueue("new", queue=f"{each}")

        newest = await shop.look(queues=(), amount=100)

    assert {each.task.queue for each in newest} == {f"{each}" for each in range(200, 300)}
