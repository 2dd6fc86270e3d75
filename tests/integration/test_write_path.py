"""The write path on a real Elasticsearch, through a proxy that breaks requests."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from random import Random

import pytest
from factories import START, a_task
from proxy import (
    answer,
    bulks,
    delay_answer,
    delay_request,
    drop_answer,
    drop_request,
    only,
    reject_items,
)

from tasques.domain.errors import (
    StoreRejectedError,
    TaskAlreadyExistsError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import JsonText

PATIENCE = 60.0

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
async def tasks(make_repository):
    return await make_repository()


def some_tasks(count):
    return [a_task(id=f"{number}") for number in range(count)]


def claimed(task, worker="worker-1"):
    return task.claim(worker_id=worker, at=START, claim_id=f"claim of {worker}")


async def all_of(*awaitables):
    return await asyncio.gather(*awaitables, return_exceptions=True)


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.01)


def kinds(outcomes):
    return Counter(type(outcome).__name__ for outcome in outcomes)


def create_all(tasks, wanted):
    return all_of(*map(tasks.create, wanted))


async def stored_ids(elasticsearch, names):
    await elasticsearch.indices.refresh(index=names.tasks_alias)
    answer = await elasticsearch.search(index=names.tasks_alias, size=10_000, source=["id"])
    return {hit["_source"]["id"] for hit in answer["hits"]["hits"]}


# ---------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_creation_whose_answer_is_lost_succeeds(tasks, proxy, times):
    """A create that was executed is answered as created, however often the answer is lost."""
    proxy.fault = bulks(drop_answer, times)
    wanted = some_tasks(20)

    created = await create_all(tasks, wanted)

    assert kinds(created) == {"Task": 20}
    for task in created:
        assert await tasks.get(task.queue, task.id) == task


async def test_a_creation_that_was_never_executed_is_repeated(tasks, proxy):
    """A create whose request is lost on the way is sent again."""
    proxy.fault = bulks(drop_request, 2)

    created = await tasks.create(a_task())

    assert await tasks.get("mail", "task-1") == created


async def test_of_two_tasks_of_an_id_one_exists_whatever_is_lost(tasks, proxy):
    """With lost answers too, another's task is never taken for one's own, nor the reverse."""
    proxy.fault = bulks(drop_answer, 4)
    wanted = [a_task(id=f"{number // 2}") for number in range(40)]

    created = await create_all(tasks, wanted)

    assert kinds(created) == {"Task": 20, "TaskAlreadyExistsError": 20}
    for first, second in zip(created[::2], created[1::2], strict=True):
        (winner,) = (task for task in (first, second) if not isinstance(task, Exception))
        assert await tasks.get(winner.queue, winner.id) == winner


@pytest.mark.parametrize("lane", [Lane.CLAIM, Lane.ACKNOWLEDGE])
async def test_an_update_whose_answer_is_lost_succeeds(tasks, proxy, lane):
    """An update that was executed is found by its mark, and told with its version."""
    created = await create_all(tasks, some_tasks(10))
    proxy.fault = bulks(drop_answer, 2)

    updated = await all_of(*(tasks.update(claimed(task), lane) for task in created))

    assert kinds(updated) == {"Task": 10}
    for task in updated:
        assert await tasks.get(task.queue, task.id) == task


async def test_of_two_claims_one_succeeds_whatever_is_lost(tasks, proxy):
    """Two workers never get the same attempt, and one of them does, with lost answers too."""
    created = await create_all(tasks, some_tasks(20))
    proxy.fault = bulks(drop_answer, 3)

    updated = await all_of(
        *(
            tasks.update(claimed(task, worker), Lane.CLAIM)
            for task in created
            for worker in ("worker-1", "worker-2")
        )
    )

    assert kinds(updated) == {"Task": 20, "VersionConflictError": 20}
    for first, second in zip(updated[::2], updated[1::2], strict=True):
        (winner,) = (task for task in (first, second) if not isinstance(task, Exception))
        assert await tasks.get(winner.queue, winner.id) == winner


async def test_what_can_not_be_resolved_is_said_to_be_unknown(make_repository, proxy, names):
    """When every answer is lost, the error says that nobody knows, and names the task."""
    tasks = await make_repository(deadline=1.0)
    proxy.fault = drop_answer

    with pytest.raises(UnresolvedWriteError, match="task-1"):
        await tasks.create(a_task())

    proxy.fault = None
    assert (await tasks.get("mail", "task-1")).id == "task-1"


async def test_a_creation_is_resolved_although_reads_fail_for_a_while(tasks, proxy):
    """A conflict is resolved by a read, which is repeated until it is answered."""
    broken = only(lambda request: request.path == "/_mget", drop_answer, 2)
    lossy = bulks(drop_answer, 1)
    proxy.fault = lambda request: (lossy if request.is_bulk else broken)(request)

    created = await tasks.create(a_task())

    assert created.version is not None


# ---------------------------------------------------------------------- late answers


async def test_an_answer_that_comes_too_late_is_resolved(make_repository, proxy):
    """A request that takes longer than it may is repeated, and the truth is told."""
    tasks = await make_repository(request_timeout=0.3)
    proxy.fault = bulks(delay_answer(1.0), 1)

    created = await create_all(tasks, some_tasks(5))

    assert kinds(created) == {"Task": 5}


async def test_a_request_that_is_executed_late_changes_nothing(make_repository, proxy):
    """The repeated write wins; the late one conflicts with it, and is not executed twice."""
    tasks = await make_repository(request_timeout=0.3)
    task = await tasks.create(a_task())
    late_answer = asyncio.get_running_loop().create_future()

    async def late(request):
        late_answer.set_result(await delay_request(0.6)(request))
        return late_answer.result()

    proxy.fault = bulks(late, 1)

    updated = await tasks.update(claimed(task), Lane.CLAIM)

    assert b'"status":409' in (await asyncio.wait_for(late_answer, PATIENCE)).body
    assert await tasks.get("mail", "task-1") == updated


async def test_everyone_is_told_in_time_when_nothing_answers(make_repository, proxy):
    """Callers are told at their deadline, however long requests hang."""
    tasks = await make_repository(deadline=1.0, request_timeout=30.0)
    proxy.fault = delay_request(30)
    started = asyncio.get_running_loop().time()

    outcomes = await all_of(*map(tasks.create, some_tasks(10)), tasks.get("mail", "x"))

    assert asyncio.get_running_loop().time() - started < 10
    assert kinds(outcomes) == {"UnresolvedWriteError": 10, "StoreUnavailableError": 1}


# ---------------------------------------------------------------------- no connection


async def test_writes_wait_for_elasticsearch_to_come_back(tasks, proxy):
    """What is submitted while connections are refused succeeds if they are taken in time."""
    await proxy.refuse_connections()
    waiting = asyncio.gather(*map(tasks.create, some_tasks(10)))
    await until(lambda: not tasks._connection.is_reachable)

    await proxy.open()

    assert kinds(await waiting) == {"Task": 10}


async def test_what_could_never_be_sent_is_known_not_to_be_executed(make_repository, proxy):
    """Refused connections end in an error that does not leave the outcome open."""
    tasks = await make_repository(deadline=0.5)
    await proxy.refuse_connections()

    outcomes = await all_of(tasks.create(a_task()), tasks.get("mail", "task-1"))

    assert kinds(outcomes) == {"StoreUnavailableError": 2}
    await proxy.open()
    assert (await tasks.create(a_task())).version is not None


async def test_an_outage_makes_two_lines_in_the_log(tasks, proxy, caplog):
    """Each change of state is logged once, however many requests fail meanwhile."""
    caplog.set_level(logging.INFO, "tasques")
    await tasks.create(a_task(id="before"))
    await proxy.refuse_connections()
    waiting = asyncio.gather(*map(tasks.create, some_tasks(10)))
    await until(lambda: not tasks._connection.is_reachable)
    await proxy.open()
    await waiting

    assert [r.getMessage() for r in caplog.records if r.name.startswith("tasques")] == [
        "Elasticsearch does not answer",
        "Elasticsearch answers again",
    ]


# ---------------------------------------------------------------------- several nodes


async def test_a_node_that_is_gone_costs_nothing(make_repository, proxy, elasticsearch_url):
    """What one node does not take is sent to another at once: no request fails."""
    await proxy.refuse_connections()
    tasks = await make_repository(addresses=[elasticsearch_url])

    answers = [
        await tasks._connection.request("POST", "/_refresh", timeout=PATIENCE) for _ in range(9)
    ]

    assert [answer.status for answer in answers] == [200] * 9


async def test_a_node_that_hangs_holds_up_one_request_and_no_more(
    make_repository, proxy, elasticsearch_url
):
    """Others get the work; the one that hangs is tried again now and then, by one request."""
    tasks = await make_repository(addresses=[elasticsearch_url], request_timeout=0.5)
    proxy.fault = delay_request(30)

    created = [await tasks.create(task) for task in some_tasks(50)]
    together = await create_all(tasks, [a_task(id=f"t{number}") for number in range(50)])

    assert kinds([*created, *together]) == {"Task": 100}
    assert len(proxy.requests) <= 5


# ---------------------------------------------------------------------- overload


async def test_a_storm_of_rejections_loses_nothing(tasks, proxy, elasticsearch, names):
    """Rejected items are sent again, and only they; when the storm is over all are there."""
    sent = Counter()

    async def storm(request):
        if not request.is_bulk:
            return await request.forward()
        if Random(len(proxy.requests)).random() < 0.3:
            return await answer(429)(request)
        chosen = Random(len(proxy.requests))
        rejected = {number for number in range(500) if chosen.random() < 0.5}
        for number, line in enumerate(request.body.splitlines()[::2]):
            sent[line] += number not in rejected
        return await reject_items(rejected.__contains__)(request)

    proxy.fault = storm
    wanted = some_tasks(300)
    waiting = asyncio.gather(*map(tasks.create, wanted), return_exceptions=True)
    await until(lambda: len(proxy.requests) >= 8)
    proxy.fault = None

    assert kinds(await waiting) == {"Task": 300}
    assert await stored_ids(elasticsearch, names) == {task.id for task in wanted}
    assert max(sent.values()) == 1


async def test_what_is_rejected_until_its_deadline_was_not_executed(
    make_repository, proxy, elasticsearch, names
):
    """A storm that does not end is an error of overload, and nothing is stored."""
    tasks = await make_repository(deadline=1.0)
    proxy.fault = bulks(answer(429))

    outcomes = await create_all(tasks, some_tasks(50))

    assert set(kinds(outcomes)) <= {"StoreUnavailableError", "OverloadedError"}
    assert len(proxy.requests) < 40
    assert await stored_ids(elasticsearch, names) == set()


async def test_answers_of_workers_get_through_where_new_tasks_do_not(
    make_repository, proxy, elasticsearch
):
    """Creates that pile up leave room for done and failed."""
    tasks = await make_repository(max_pending_operations=100)
    claimable = await create_all(tasks, some_tasks(5))
    proxy.fault = bulks(delay_request(0.5), 2)
    creates = [
        asyncio.ensure_future(tasks.create(a_task(id=f"new {number}"))) for number in range(200)
    ]
    await asyncio.sleep(0)

    updated = await all_of(*(tasks.update(claimed(task), Lane.ACKNOWLEDGE) for task in claimable))

    assert kinds(updated) == {"Task": 5}
    assert kinds(await asyncio.gather(*creates, return_exceptions=True)) == {
        "Task": 80,
        "OverloadedError": 120,
    }


async def test_trouble_of_a_shard_is_tried_again(tasks, proxy):
    """Items that answer 503 are repeated until their shard is there."""
    proxy.fault = bulks(reject_items(lambda number: number % 2 == 0, status=503), 3)

    assert kinds(await create_all(tasks, some_tasks(20))) == {"Task": 20}


# ---------------------------------------------------------------------- blocked, missing


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write"])
async def test_a_blocked_index_is_told_soon_and_forgotten_when_freed(
    tasks, proxy, elasticsearch, names, block, caplog
):
    """Full disk or operator's block: an error of availability at once, success afterwards."""
    caplog.set_level(logging.INFO, "tasques")
    there = await tasks.create(a_task(id="there"))
    await set_block(elasticsearch, names, block, value=True)
    before = len(proxy.requests)

    for _ in range(3):
        outcomes = await all_of(
            *map(tasks.create, some_tasks(5)), tasks.update(claimed(there), Lane.CLAIM)
        )
        assert kinds(outcomes) == {"StoreBlockedError": 6}
    assert len(proxy.requests) == before + 3  # no retries
    assert await tasks.get("mail", "there") == there

    await set_block(elasticsearch, names, block, value=None)
    outcomes = await all_of(
        *map(tasks.create, some_tasks(5)), tasks.update(claimed(there), Lane.CLAIM)
    )
    assert kinds(outcomes) == {"Task": 6}
    assert [r.getMessage() for r in caplog.records if r.name.startswith("tasques")] == [
        "Elasticsearch refuses writes",
        "Elasticsearch takes writes again",
    ]


async def set_block(elasticsearch, names, block, *, value):
    await elasticsearch.indices.put_settings(
        index=names.tasks_index, settings={f"index.blocks.{block}": value}
    )


async def test_without_the_alias_nothing_is_made(tasks, elasticsearch, names, caplog):
    """A missing alias is an error of availability; Elasticsearch makes no index of that name."""
    caplog.set_level(logging.INFO, "tasques")
    await tasks.create(a_task(id="there"))
    await elasticsearch.indices.delete_alias(index=names.tasks_index, name=names.tasks_alias)

    for _ in range(2):
        outcomes = await all_of(*map(tasks.create, some_tasks(3)), tasks.get("mail", "there"))
        assert kinds(outcomes) == {"StoreUnavailableError": 4}
    assert not await elasticsearch.indices.exists(index=names.tasks_alias)

    await elasticsearch.indices.put_alias(
        index=names.tasks_index, name=names.tasks_alias, is_write_index=True
    )
    assert kinds(await create_all(tasks, some_tasks(3))) == {"Task": 3}
    assert (await tasks.get("mail", "there")).id == "there"
    assert sorted(r.getMessage() for r in caplog.records if r.name.startswith("tasques")) == [
        "Elasticsearch refuses reads",
        "Elasticsearch refuses writes",
        "Elasticsearch takes reads again",
        "Elasticsearch takes writes again",
    ]


# ---------------------------------------------------------------------- hostile neighbours

HOSTILE = {
    "line breaks": '{"a":"\\n\\r\\u2028"}\n{"index":{}}\r\n',
    "duplicate keys": '{"a":1,"a":2}',
    "a number of 1,001 digits": '{"a":%s}' % ("9" * 1001),
    "150 levels": '{"a":' * 150 + "1" + "}" * 150,
    "1,000 levels": "[" * 1000 + "]" * 1000,
    "no JSON": '{"a":',
    "control characters": "\x00\x01\x1f\x7f",
    "an operation": '{"delete":{"_index":"*","_id":"x"}}',
}


async def test_what_one_client_sends_never_fails_another_s_write(tasks, proxy):
    """Whatever `args` hold is stored as it is, beside the others of the same request."""
    wanted = [a_task(id=name, args=JsonText(text)) for name, text in HOSTILE.items()]
    neighbours = some_tasks(20)

    created = await create_all(tasks, [*neighbours[:10], *wanted, *neighbours[10:]])

    assert kinds(created) == {"Task": 20 + len(HOSTILE)}
    assert len([request for request in proxy.requests if request.is_bulk]) == 1
    for task in wanted:
        assert (await tasks.get("mail", task.id)).args == task.args


async def test_an_id_over_the_limit_fails_alone(tasks, proxy, elasticsearch, names):
    """Elasticsearch refuses a whole request for one `_id` of 513 bytes; its neighbours succeed."""
    neighbours = some_tasks(30)
    culprits = [a_task(id="x" * 508), a_task(id="\u00e9" * 254)]  # and "mail:"

    created = await create_all(
        tasks, [*neighbours[:7], culprits[0], *neighbours[7:25], culprits[1], *neighbours[25:]]
    )

    assert kinds(created) == {"Task": 30, "StoreRejectedError": 2}
    assert [type(created[7]), type(created[26])] == [StoreRejectedError] * 2
    assert await stored_ids(elasticsearch, names) == {task.id for task in neighbours}
    assert len(proxy.requests) < 30


async def test_a_document_that_the_mapping_refuses_fails_alone(tasks):
    """A member that the index does not know fails its own task only."""
    unknown = a_task(id="unknown", unknown_members={"from_tomorrow": 1})

    created = await create_all(tasks, [*some_tasks(5), unknown])

    assert kinds(created) == {"Task": 5, "StoreRejectedError": 1}


async def test_large_tasks_are_stored_beside_small_ones(make_repository):
    """A request has a bound in bytes; what is larger goes alone."""
    tasks = await make_repository(max_bytes=1024 * 1024, request_timeout=30, deadline=60)
    large = [a_task(id=f"large {n}", args=JsonText('"%s"' % ("x" * 3_000_000))) for n in range(3)]

    created = await create_all(tasks, [*some_tasks(20), *large])

    assert kinds(created) == {"Task": 23}


# ---------------------------------------------------------------------- conflicts


async def test_a_conflict_with_another_is_told_as_such(tasks):
    """A real conflict is never taken for an echo of one's own write."""
    created = await tasks.create(a_task())
    taken = await tasks.update(claimed(created, "worker-2"), Lane.CLAIM)

    with pytest.raises(VersionConflictError):
        await tasks.update(claimed(created), Lane.CLAIM)
    with pytest.raises(TaskAlreadyExistsError):
        await tasks.create(a_task())

    assert await tasks.get("mail", "task-1") == taken
