from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from factories import a_new_task
from shop import NO_TIME, Shop, ids, running

from tasques.clock import SystemClock
from tasques.domain.errors import TaskNotFoundError
from tasques.domain.ports import Lane
from tasques.domain.task import Task, TaskState
from tasques.repository.indices import IndexNames
from tasques.services.broker_limits import BrokerLimits
from tasques.services.slots import Slots

pytestmark = pytest.mark.elasticsearch

NEVER = 1e6  # seconds
ONLY_HAND_OFF = BrokerLimits(refresh_min_interval=NEVER, poll_interval=NEVER)


def now():
    return datetime.now(UTC)


def shop_on(repository, **arguments):
    return Shop(tasks=repository, clock=SystemClock(), **arguments)


@pytest.fixture
async def shop(elasticsearch_repository):
    """Services over Elasticsearch, whose index is refreshed only when the broker asks for it."""
    async with running(shop_on(elasticsearch_repository), seconds=10) as shop:
        yield shop


@pytest.fixture
def refreshes(elasticsearch, prefix):
    """Counts the refreshes so far that made something visible to searches."""

    async def count():
        index = IndexNames(prefix).tasks_index
        stats = await elasticsearch.indices.stats(index=index, metric="refresh")
        return stats["_all"]["total"]["refresh"]["external_total"]

    return count


class Counting:
    """A repository that tells when it was searched after a refresh."""

    def __init__(self, repository):
        self._repository = repository
        self._is_refreshed = False
        self.polled = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._repository, name)

    async def refresh(self):
        await self._repository.refresh()
        self._is_refreshed = True

    async def search_claimable(self, searches):
        found = await self._repository.search_claimable(searches)
        if self._is_refreshed:
            self.polled.set()
        return found


async def all_over(shop):
    """Wait until whatever goes on in the background has ended."""
    async with asyncio.timeout(30):
        while True:
            if not shop.background:
                return
            await asyncio.sleep(0.02)


async def store(shop, **changes):
    """A task that this process does not know, as if another had created it."""
    task = Task.enqueue(a_new_task(**changes), at=now(), incarnation=f"{changes['id']:0>22}"[:22])
    return await shop.tasks.create(task)


async def claim_all(shop, number, **arguments):
    """Claim one by one, as one worker does that never tires."""
    return [(await shop.claim(**arguments))[0] for _ in range(number)]


# ---------------------------------------------------------------- hand-off


async def test_a_new_task_is_handed_over_without_a_refresh(elasticsearch_repository, refreshes):
    """A worker that waits gets a task that was created on its server without any refresh."""
    tasks = Counting(elasticsearch_repository)
    async with running(shop_on(tasks, limits=ONLY_HAND_OFF)) as shop:
        claim = shop.begin("waiting")
        async with asyncio.timeout(30):
            await tasks.polled.wait()
        before = await refreshes()

        for each in range(20):
            created = await shop.enqueue(f"{each}", run_at=now())
            (claimed,) = await claim
            assert claimed.before == created
            claim = shop.begin("waiting")

        assert await refreshes() == before
        claim.cancel()


async def test_a_task_of_another_server_is_found_by_polling(elasticsearch_repository):
    """A task that was created elsewhere reaches a waiting worker although nothing refreshes."""
    async with (
        running(shop_on(elasticsearch_repository)) as here,
        running(shop_on(elasticsearch_repository)) as elsewhere,
    ):
        claim = here.begin("waiting")
        await elsewhere.enqueue("new", run_at=now())

        assert ids(await claim) == ["new"]


# ---------------------------------------------------------------- order


async def test_priorities_go_first_up_to_their_limits_then_time(shop):
    """Higher priorities are claimed first, alike beyond the limit, and ties go by run_at."""
    due = now() - timedelta(hours=1)
    for task_id, priority, seconds in [
        ("limit", 1048576, 3),
        ("beyond", 1048577, 2),
        ("far beyond", 2147483648, 1),
        ("lowest", -2147483648, 0),
        ("late", 0, 9),
        ("early", 0, 8),
        ("ten", 10, 9),
    ]:
        await store(shop, id=task_id, priority=priority, run_at=due + timedelta(seconds=seconds))
    for task_id, priority, run_at in [
        ("year one", 0, datetime(1, 1, 1, tzinfo=UTC)),
        ("1880", 0, datetime(1880, 1, 1, tzinfo=UTC)),
        ("one", 1, due + timedelta(seconds=9)),
    ]:
        await store(shop, id=task_id, priority=priority, run_at=run_at)
    await shop.tasks.refresh()

    claimed = await claim_all(shop, 10)

    order = ids(claimed)
    assert order[:5] == ["far beyond", "beyond", "limit", "ten", "one"]
    assert set(order[5:7]) == {"year one", "1880"}
    assert order[7:] == ["early", "late", "lowest"]
    assert {each.task.id: each.task.priority for each in claimed}["far beyond"] == 2147483648


async def test_a_task_that_failed_keeps_its_priority(shop):
    """A task that is due again goes before those of a lower priority that wait longer."""
    await store(shop, id="a", priority=5, run_at=now())
    await store(shop, id="b", priority=1, run_at=now() - timedelta(days=1))
    await shop.tasks.refresh()
    (first,) = await shop.claim()
    failed = await shop.service.fail("mail", "a", worker_id="worker-1", failure=None)
    await shop.tasks.update(failed._replace(run_at=now()), Lane.ACKNOWLEDGE)
    await shop.tasks.refresh()
    await asyncio.sleep(1.1)  # what was found before the failure is out of date

    (again,) = await shop.claim()

    assert (first.task.id, again.task.id, again.task.attempted) == ("a", "a", 2)


async def test_a_deep_queue_goes_out_by_run_at(elasticsearch_repository):
    """Two hundred equals are claimed in the order in which they are due, page by page."""
    limits = BrokerLimits(max_search=30)
    async with running(shop_on(elasticsearch_repository, limits=limits)) as shop:
        due = now() - timedelta(hours=1)
        order = [f"{each:03}" for each in range(200)]
        await asyncio.gather(
            *(
                store(shop, id=each, run_at=due + timedelta(seconds=int(each)))
                for each in reversed(order)
            )
        )
        await shop.tasks.refresh()

        assert ids(await claim_all(shop, 200)) == order


async def test_thousands_of_one_rank_all_go_out(elasticsearch_repository):
    """Tasks that are all due at one instant are claimed, each once, however many there are."""
    limits = BrokerLimits(max_search=200)
    async with running(shop_on(elasticsearch_repository, limits=limits)) as shop:
        due = now()
        await asyncio.gather(*(store(shop, id=f"{each}", run_at=due) for each in range(1000)))
        await shop.tasks.refresh()

        claimed = []
        while len(claimed) < 1000:
            claimed += ids(await shop.claim(amount=100))

        assert sorted(claimed, key=int) == [f"{each}" for each in range(1000)]


# ---------------------------------------------------------------- when


async def test_nothing_is_claimed_before_it_is_due(elasticsearch_repository):
    """A task for later is claimed once, not before its time, by whoever waits on any server."""
    async with (
        running(shop_on(elasticsearch_repository)) as one,
        running(shop_on(elasticsearch_repository)) as two,
    ):
        due = now() + timedelta(seconds=1.5)
        for each in range(20):
            await one.enqueue(f"{each}", run_at=due, processing_timeout=timedelta(milliseconds=500))
        claims = [shop.begin(f"{each}") for each in range(10) for shop in (one, two)]

        claimed = [(await claim)[0].task for claim in claims]

    assert sorted(int(task.id) for task in claimed) == list(range(20))
    assert all(task.last_claimed.claimed_at >= due for task in claimed)
    assert {task.attempted for task in claimed} == {1}


async def test_an_unclaimed_task_is_found_by_others(shop):
    """A task that one worker refused reaches another one, and its attempt does not count."""
    await shop.enqueue("unwanted", run_at=now())
    await shop.claim("picky")
    claim = shop.begin("other")
    await shop.service.unclaim("mail", "unwanted", worker_id="picky")

    (claimed,) = await claim

    assert claimed.task.attempted == 1
    assert claimed.task.last_claimed.worker_id == "other"


async def test_a_claim_that_does_not_wait_sees_what_was_refreshed(shop):
    """A claim with a block_for of zero gets what the index shows, and nothing else."""
    assert await shop.claim(block_for=NO_TIME) == []
    await store(shop, id="a", run_at=now())
    await shop.tasks.refresh()

    assert ids(await shop.claim(block_for=NO_TIME)) == ["a"]


async def test_a_queue_that_never_existed_is_waited_for(shop):
    """Claiming from an unknown queue is no error: it is answered when a task comes."""
    assert await shop.claim(queues=("never",), block_for=timedelta(milliseconds=50)) == []
    claim = shop.begin(queues=("never",))
    await shop.enqueue("a", queue="never", run_at=now())

    assert ids(await claim) == ["a"]


# ---------------------------------------------------------------- faults


async def test_claims_that_are_cancelled_at_any_moment_leave_no_trace(shop):
    """Whenever a worker vanishes, its task is as it was before, and is claimed by the next."""
    created = [await shop.enqueue(f"{each}", run_at=now()) for each in range(10)]
    for turn in range(40):
        claims = [shop.begin(f"gone-{turn}", amount=3) for _ in range(4)]
        for _ in range(turn * 3):
            await asyncio.sleep(0)
        await asyncio.sleep(turn / 4000)
        for claim in claims:
            claim.cancel()
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        for claimed in outcomes:
            if isinstance(claimed, list):
                shop.broker.give_back(claimed)
    await all_over(shop)

    for task in created:
        stored = await shop.service.get("mail", task.id)
        assert stored._replace(version=None) == task._replace(version=None)
    claimed = []
    while len(claimed) < 10:
        claimed += await shop.claim("alive", amount=10)
    assert {each.task.attempted for each in claimed} == {1}
    assert len(set(ids(claimed))) == 10


async def test_documents_that_are_no_tasks_hurt_nobody(shop, elasticsearch, prefix, caplog):
    """Whatever else is in the index, tasks are claimed as if it was not there."""
    index = IndexNames(prefix).tasks_index
    alien = {"queue": "mail", "due_at": "2020-01-01T00:00:00Z", "claim_rank": -(2**60)}
    for number, members in enumerate(
        [
            {},
            {"args": 5},
            {"args": {"a": 1}},
            {"state": "odd", "context": "x"},
            {"queue": "x", "args": []},
        ]
    ):
        await elasticsearch.index(index=index, id=f"alien{number}", document=alien | members)
        await elasticsearch.index(index=index, id=f"mail:{number}", document=alien | members)
    await store(shop, id="good", run_at=now())
    await shop.tasks.refresh()

    assert ids(await shop.claim(amount=20)) == ["good"]
    await shop.enqueue("better", run_at=now())
    assert ids(await shop.claim()) == ["better"]
    reported = [record for record in caplog.records if record.message.startswith("a task can not")]
    assert 0 < len(reported) <= 8


async def test_a_task_that_was_taken_away_meanwhile_is_skipped(shop, elasticsearch, prefix):
    """A task that the index still shows, but that is gone, costs its claim nothing but a try."""
    await store(shop, id="gone", priority=1, run_at=now())
    await store(shop, id="there", run_at=now())
    await shop.tasks.refresh()
    await elasticsearch.delete(index=IndexNames(prefix).tasks_index, id="mail:gone")

    assert ids(await shop.claim()) == ["there"]
    with pytest.raises(TaskNotFoundError):
        await shop.service.get("mail", "gone")


# ---------------------------------------------------------------- several servers


@pytest.mark.parametrize("slots", [(Slots(), Slots()), (Slots(0, 2), Slots(1, 2))])
async def test_two_brokers_share_a_queue_without_doing_anything_twice(
    elasticsearch_repository, slots
):
    """Two servers empty one queue together: every task is claimed once, by either."""
    shops = [shop_on(elasticsearch_repository, slots=each) for each in slots]
    due = now()
    await asyncio.gather(*(store(shops[0], id=f"{each}", run_at=due) for each in range(300)))
    await elasticsearch_repository.refresh()
    claimed = []

    async def work(shop, worker):
        while len(claimed) < 300:
            claimed.extend(
                await shop.claim(worker, amount=3, block_for=timedelta(milliseconds=200))
            )

    async with running(shops[0]), running(shops[1]):
        await asyncio.gather(*(work(shop, f"{worker}") for worker in range(8) for shop in shops))

    assert sorted(map(int, ids(claimed))) == list(range(300))
    assert {each.task.attempted for each in claimed} == {1}
    assert {each.task.state for each in claimed} == {TaskState.CLAIMED}


async def test_a_broker_alone_takes_over_the_slots_of_one_that_is_gone(elasticsearch_repository):
    """Tasks of a server that has gone reach the workers of the one that is left."""
    async with running(shop_on(elasticsearch_repository, slots=Slots(0, 2))) as shop:
        await asyncio.gather(*(store(shop, id=f"{each}", run_at=now()) for each in range(20)))
        await shop.tasks.refresh()

        claimed = []
        while len(claimed) < 20:
            claimed += ids(await shop.claim(amount=20))

    assert sorted(map(int, claimed)) == list(range(20))
