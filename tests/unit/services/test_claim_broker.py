from __future__ import annotations

import asyncio
import gc
from datetime import timedelta

import pytest
from factories import START, a_task
from fakes import settle
from shop import FOR_LONG, NO_TIME, Shop, ids, running, some_tasks

from tasques.domain.errors import OverloadedError, ShuttingDownError
from tasques.domain.task import JsonText, TaskState
from tasques.services.broker_limits import BrokerLimits
from tasques.services.waiting import QueueSet, Waiter

A_MOMENT = timedelta(milliseconds=20)


# ---------------------------------------------------------------- what a claim gets


async def test_a_higher_priority_goes_first_then_what_is_due_longer(shop):
    await shop.lay(
        a_task(id="late"),
        a_task(id="early", run_at=START - timedelta(seconds=1)),
        a_task(id="urgent", priority=1),
        a_task(id="lazy", priority=-1, run_at=START - timedelta(days=1)),
    )

    assert ids(await shop.claim(amount=4)) == ["urgent", "early", "late", "lazy"]


async def test_a_claim_is_written_before_it_is_answered(shop):
    await shop.lay(a_task())

    (claimed,) = await shop.claim("worker-7")

    assert shop.tasks.stored == [claimed.task]
    assert claimed.task.state is TaskState.CLAIMED
    assert claimed.task.attempted == 1
    assert claimed.task.last_claimed.worker_id == "worker-7"
    assert shop.last_seen.find("mail", "task-1") == claimed.task


async def test_every_claim_has_an_id_of_its_own(shop):
    await shop.lay(*some_tasks(3))

    claimed = await shop.claim(amount=3)

    assert len({each.task.last_claimed.claim_id for each in claimed}) == 3


async def test_a_claim_gets_no_more_than_it_asks_for(shop):
    await shop.lay(*some_tasks(5))

    assert ids(await shop.claim(amount=2)) == ["00000", "00001"]
    assert shop.updates == 2


async def test_a_claim_is_answered_early_with_what_there_is(shop):
    await shop.lay(*some_tasks(3))

    assert len(await shop.claim(amount=10, block_for=FOR_LONG)) == 3


async def test_a_claim_for_nothing_is_answered_at_once(shop):
    await shop.lay(a_task())

    assert await shop.claim(amount=0) == []
    assert shop.searches == 0


async def test_only_the_queues_that_were_asked_for_are_served(shop):
    await shop.lay(a_task(id="a", queue="a"), a_task(id="b", queue="b"), a_task(id="c", queue="c"))

    assert sorted(ids(await shop.claim(queues=("a", "c"), amount=9))) == ["a", "c"]
    assert ids(await shop.claim(queues=(), amount=9)) == ["b"]


async def test_an_answer_ends_at_its_limit_in_bytes(shop):
    args = JsonText('{"a":"' + "x" * 6 * 1024 * 1024 + '"}')
    await shop.lay(*(a_task(id=f"{each}", args=args) for each in range(5)))

    assert len(await shop.claim(amount=5)) == 3


# ---------------------------------------------------------------- waiting


async def test_who_came_first_is_served_first(shop):
    first, second, third = await shop.park("first", "second", "third")
    await shop.enqueue("a")
    await settle()
    await shop.enqueue("b")
    await settle()

    assert ids(await first) == ["a"]
    assert ids(await second) == ["b"]
    assert not third.done()
    third.cancel()


async def test_a_claim_waits_while_there_is_nothing(shop):
    claim = await shop.park("worker-1")
    await shop.clock.advance(5)
    assert not claim.done()

    shop.tasks.store(a_task())  # by another server
    await shop.clock.advance(1)

    assert ids(await claim) == ["task-1"]


async def test_a_claim_is_answered_with_nothing_when_its_time_is_over(shop):
    assert await shop.claim(block_for=A_MOMENT) == []
    assert shop.searches >= 1


@pytest.mark.parametrize("block_for", [NO_TIME, timedelta(seconds=-5)])
async def test_a_claim_that_does_not_wait_looks_exactly_once(shop, block_for):
    assert await shop.claim(block_for=block_for) == []
    assert shop.searches == 1
    await shop.clock.advance(0.001)

    await shop.lay(a_task())
    assert ids(await shop.claim(block_for=block_for)) == ["task-1"]
    assert shop.searches == 1
    assert shop.refreshes == 0


async def test_a_search_that_had_begun_before_does_not_count_for_a_claim_that_does_not_wait(shop):
    may_search = asyncio.Event()
    shop.tasks.before_search = may_search.wait
    waiting = await shop.park("patient")
    await shop.clock.advance(0.001)
    hasty = shop.begin("hasty", block_for=NO_TIME)
    await settle()
    may_search.set()
    await settle()

    assert await hasty == []
    assert shop.searches == 2
    waiting.cancel()


@pytest.mark.parametrize("block_for", [timedelta(microseconds=1), timedelta(milliseconds=1)])
async def test_a_claim_gets_what_is_there_however_short_it_waits(shop, block_for):
    await shop.lay(a_task())
    shop.tasks.before_search = lambda: asyncio.sleep(0.05)

    assert ids(await shop.claim(block_for=block_for)) == ["task-1"]


async def test_claims_that_do_not_wait_get_everything_although_few_writes_may_be_under_way():
    async with running(Shop(limits=BrokerLimits(max_in_flight=1, max_search=7))) as shop:
        await shop.lay(*some_tasks(300))
        claims = [shop.begin(f"{each}", block_for=NO_TIME) for each in range(300)]

        dealt = [each for claim in claims for each in ids(await claim)]

    assert dealt == [task.id for task in some_tasks(300)]


# ---------------------------------------------------------------- searching for all


async def test_one_search_serves_all_that_wait_for_the_same_queues(shop):
    await shop.lay(*some_tasks(20))
    claims = [shop.begin(f"{each}", queues=("mail", "other")) for each in range(10)]
    claims += [shop.begin(f"{each}", queues=("other", "mail", "other")) for each in range(10)]

    dealt = [each for claim in claims for each in ids(await claim)]

    assert dealt == [task.id for task in some_tasks(20)]
    assert shop.searches == 1
    assert shop.updates == 20


async def test_one_request_searches_for_several_sets_of_queues(shop):
    await shop.lay(*(a_task(id="a", queue=f"{each}") for each in range(30)))
    claims = [shop.begin(queues=(f"{each}",)) for each in range(30)]

    for claim in claims:
        assert ids(await claim) == ["a"]

    assert shop.searches == 1
    assert {search.queues for search in shop.tasks.searches} == {(f"{n}",) for n in range(30)}


async def test_more_sets_than_fit_into_a_request_are_searched_too(shop):
    await shop.lay(*(a_task(id="a", queue=f"{each}") for each in range(250)))
    claims = [shop.begin(queues=(f"{each}",)) for each in range(250)]

    for claim in claims:
        assert ids(await claim) == ["a"]
    assert shop.searches == 3


async def test_nothing_is_dealt_twice(shop):
    await shop.lay(*some_tasks(10))
    sets = [("mail",), (), ("mail", "other")]
    claims = [shop.begin(f"{each}", queues=sets[each % 3]) for each in range(30)]
    await settle()
    await shop.clock.advance(2)

    dealt = [each for claim in claims if claim.done() for each in ids(claim.result())]
    for claim in claims:
        claim.cancel()

    assert sorted(dealt) == [task.id for task in some_tasks(10)]
    assert shop.updates == 10


async def test_who_loses_a_race_is_dealt_the_next_one(shop):
    await shop.lay(*some_tasks(3))

    async def be_faster(task):
        if task.id in ("00000", "00001"):
            shop.tasks.store(a_task(id=task.id, state=TaskState.DONE))

    shop.tasks.before_update = be_faster

    assert ids(await shop.claim()) == ["00002"]
    assert shop.searches == 1
    assert shop.updates == 3


async def test_who_loses_every_race_waits_on(shop):
    await shop.lay(*some_tasks(3))

    async def be_faster(task):
        shop.tasks.store(a_task(id=task.id, state=TaskState.DONE))

    shop.tasks.before_update = be_faster
    claim = await shop.park("unlucky", amount=2)
    await shop.clock.advance(3)
    assert not claim.done()
    assert shop.updates == 3

    shop.tasks.before_update = None
    await shop.enqueue("new")
    assert ids(await claim) == ["new"]


async def test_what_is_known_to_be_gone_costs_no_write(shop):
    await shop.lay(*some_tasks(5))
    for each in await shop.claim(amount=5):
        await shop.service.complete("mail", each.task.id, worker_id="worker-1", success=None)
    writes = shop.updates

    assert await shop.look(amount=5) == []  # although the index shows all five still

    assert shop.searches == 2
    assert shop.updates == writes


async def test_a_queue_that_has_never_existed_is_waited_for(shop):
    claim = await shop.park("worker-1", queues=("never",))
    await shop.enqueue("a", queue="never")

    assert ids(await claim) == ["a"]


# ---------------------------------------------------------------- deep queues


async def test_a_deep_queue_is_read_page_by_page_in_order():
    async with running(Shop(limits=BrokerLimits(max_search=20))) as shop:
        await shop.lay(*some_tasks(200))

        claimed = await asyncio.gather(*(shop.begin(f"{n}", amount=5) for n in range(40)))

        assert [ids(each)[0] for each in claimed] == [f"{n:05}" for n in range(0, 200, 5)]
        assert all(len(each) == 5 for each in claimed)
        pages = [search.from_rank for search in shop.tasks.searches]
        # The first look and the first poll begin at the top.
        assert pages[0] is None
        assert None not in pages[2:]


async def test_a_page_of_one_rank_is_waited_for_instead_of_asked_for_again():
    async with running(Shop(limits=BrokerLimits(max_search=10))) as shop:
        await shop.lay(*some_tasks(25, run_at=START))

        assert len(await shop.claim(amount=25)) == 10
        rest = await shop.park("next", amount=25)
        assert shop.searches <= 5

        dealt = 10
        for _ in range(10):
            await shop.clock.advance(0.5)
            if rest.done():
                dealt += len(rest.result())
                rest = await shop.park("next", amount=25)
        rest.cancel()
        assert dealt == 25
        assert shop.searches <= 40


async def test_the_buffer_serves_for_a_moment_and_no_longer(shop):
    await shop.lay(*some_tasks(9))
    await shop.claim()
    await shop.claim()
    assert shop.searches == 1

    await shop.lay(a_task(id="urgent", priority=9))
    await shop.clock.advance(1.5)

    assert ids(await shop.claim()) == ["urgent"]
    assert shop.searches == 1


async def test_searches_that_take_seconds_still_get_tasks_out(shop):
    await shop.lay(*some_tasks(6))
    shop.tasks.before_search = lambda: shop.clock.sleep(3)

    for expected in ("00000", "00001", "00002"):
        claim = shop.begin()
        while not claim.done():
            await shop.clock.advance(0.5)
        assert ids(claim.result()) == [expected]


async def test_a_deep_queue_does_not_starve_another_one():
    async with running(Shop(limits=BrokerLimits(max_in_flight=10, max_search=2000))) as shop:
        await shop.lay(*some_tasks(2000), a_task(id="lonely", queue="other"))
        written = []

        async def note(task):
            written.append(task.id)

        shop.tasks.before_update = note
        many = [shop.begin(f"{n}", amount=50) for n in range(40)]
        lonely = shop.begin(queues=("other",))

        assert ids(await lonely) == ["lonely"]
        assert sum(map(len, await asyncio.gather(*many))) == 2000
        assert written.index("lonely") < 250


async def test_claims_that_do_not_wait_do_not_keep_others_from_their_polls(shop):
    parked = await shop.park("parked")
    shop.tasks.store(a_task())  # shown by a refresh only, and nothing else makes one

    for _ in range(40):
        await shop.look(queues=("busy",))
        if parked.done():
            break
        await shop.clock.advance(0.05)

    assert ids(await parked) == ["task-1"]


# ---------------------------------------------------------------- what it costs


async def test_a_hundred_idle_workers_cost_what_one_costs(shop):
    claims = await shop.park(*(f"{each}" for each in range(100)))
    await shop.clock.advance(10)
    for claim in claims:
        claim.cancel()

    assert 10 <= shop.searches <= 45
    assert shop.refreshes <= shop.searches


async def test_nobody_waiting_costs_nothing(shop):
    await shop.claim(block_for=A_MOMENT)
    shop.tasks.calls.clear()

    await shop.clock.advance(60)

    assert shop.tasks.calls.total() == 0


async def test_a_worker_that_unclaims_everything_costs_a_round_for_each_poll(shop):
    await shop.enqueue("unwanted")
    claims = 0
    for _ in range(500):
        claim = await shop.park("picky")
        await shop.clock.advance(0.01)
        if not claim.done():
            claim.cancel()
            await settle()
            continue
        claims += 1
        await shop.service.unclaim("mail", "unwanted", worker_id="picky")

    assert 5 <= claims <= 5 / 0.2 + 2
    assert shop.searches <= 2 * (5 / 0.2 + 2)


# ---------------------------------------------------------------- bounds and the end


async def test_more_claims_than_may_wait_are_refused():
    async with running(Shop(limits=BrokerLimits(max_parked=2))) as shop:
        claims = await shop.park("a", "b")

        with pytest.raises(OverloadedError):
            await shop.claim("c")

        claims[0].cancel()
        await settle()
        third = await shop.park("c")
        await shop.enqueue("1")
        await shop.enqueue("2")
        assert ids(await claims[1]) == ["1"]
        assert ids(await third) == ["2"]


async def test_closing_answers_all_that_wait_and_refuses_new_claims(shop):
    claims = await shop.park(*(f"{each}" for each in range(5)))

    shop.broker.close()

    assert await asyncio.gather(*claims) == [[]] * 5
    with pytest.raises(ShuttingDownError):
        await shop.claim()
    assert shop.broker.parked == 0


async def test_closing_does_not_take_away_what_is_being_written(shop):
    await shop.lay(a_task())
    may_write = asyncio.Event()
    shop.tasks.before_update = lambda _: may_write.wait()
    claim = await shop.park("worker-1")

    shop.broker.close()
    shop.broker.close()
    await settle()
    assert not claim.done()
    may_write.set()

    assert ids(await claim) == ["task-1"]


async def test_closing_answers_those_whose_search_is_under_way(shop):
    shop.tasks.before_search = asyncio.Event().wait
    claims = await shop.park("a", "b")
    hasty = shop.begin(block_for=NO_TIME)
    await settle()

    shop.broker.close()

    assert await asyncio.gather(*claims, hasty) == [[], [], []]


def number_of(kind):
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


async def test_nothing_is_left_when_all_is_over(shop):
    before = number_of(Waiter)
    await shop.lay(*some_tasks(50))
    oldest = await shop.park("oldest", queues=("other",))
    for _ in range(20):
        claims = await shop.park("a", "b", "c", queues=("other",))
        for claim in claims:
            claim.cancel()
        await asyncio.gather(*claims, return_exceptions=True)
    assert await shop.claim(amount=50)
    oldest.cancel()
    await asyncio.gather(oldest, return_exceptions=True)
    del claim, claims, oldest
    await shop.clock.advance(5)

    assert shop.broker.parked == 0
    assert len(shop.background) == 0
    assert number_of(Waiter) <= before


async def test_sets_of_queues_that_nobody_waits_for_are_forgotten():
    async with running(Shop(limits=BrokerLimits(max_queue_sets=10))) as shop:
        before = number_of(QueueSet)
        parked = await shop.park("parked", queues=("parked",))
        for each in range(100):
            await shop.look(queues=(f"{each}",))

        assert number_of(QueueSet) <= before + 12
        await shop.enqueue("a", queue="parked")
        assert ids(await parked) == ["a"]
