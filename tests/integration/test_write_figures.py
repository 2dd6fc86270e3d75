"""The figures of writes to a real Elasticsearch that is made to fail: exactly what happened."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

import pytest
from elasticsearch import AsyncElasticsearch
from factories import START, a_task
from proxy import answer, bulks, drop_answer, reject_items
from scraped import samples

from tasques.clock import SystemClock
from tasques.domain.errors import TaskAlreadyExistsError, VersionConflictError
from tasques.domain.ports import Lane
from tasques.observability.metrics import Metrics
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.unique import UniqueMarks

pytestmark = pytest.mark.elasticsearch

PATIENCE = 60.0
COUNT = 20


@pytest.fixture
def metrics():
    return Metrics(max_queues=9, long_poll=("POST", "/claims"))


@pytest.fixture
async def tasks(elasticsearch, prefix, proxy, metrics):
    """A repository behind the proxy whose writes are counted."""
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=1, replicas=0, refresh_interval=timedelta(hours=1)
    )
    clock = SystemClock()
    async with AsyncElasticsearch(proxy.url) as client:
        connection = Connection(client, authorization=None)
        writer = BulkWriter(
            connection,
            limits=WriteLimits(deadline=PATIENCE, request_timeout=PATIENCE),
            clock=clock,
            random=Random(1),
            observer=metrics.bulk,
        )
        reader = DocumentReader(
            connection,
            clock=clock,
            random=Random(1),
            deadline=PATIENCE,
            request_timeout=PATIENCE,
            max_pending=1000,
        )
        yield ElasticsearchTaskRepository(
            alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=connection,
            writer=writer,
            reader=reader,
            clock=clock,
            new_write_id=UniqueMarks(),
            request_timeout=PATIENCE,
        )
        await writer.close(PATIENCE)
        await reader.close()


def new_tasks():
    return [a_task(id=f"task-{number}") for number in range(COUNT)]


def results(metrics):
    return {
        dict(labels)["result"]: value
        for (name, labels), value in samples(metrics.render().decode()).items()
        if name == "tasques_bulk_operations_total"
    }


def total(metrics, name):
    found = samples(metrics.render().decode()).items()
    return sum(value for (shown, _), value in found if shown == f"tasques_bulk_{name}")


async def test_conflicts_are_counted(tasks, metrics, proxy):
    made = await tasks.create_all(new_tasks())
    again = await tasks.create_all(new_tasks())
    assert {type(outcome) for outcome in again} == {TaskAlreadyExistsError}
    for _ in range(2):  # the second time they are not what was read
        claimed = [task.claim(worker_id="w", at=START, claim_id="c") for task in made]
        outcomes = await tasks.update_all(claimed, Lane.CLAIM)
    assert {type(outcome) for outcome in outcomes} == {VersionConflictError}

    bulk_requests = [request for request in proxy.requests if request.is_bulk]
    assert results(metrics) == {"done": 2 * COUNT, "conflict": 2 * COUNT}
    assert total(metrics, "request_duration_seconds_count") == len(bulk_requests)
    assert total(metrics, "request_operations_sum") == 4 * COUNT
    assert total(metrics, "repeated_operations_total") == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (reject_items(lambda number: number % 2 == 0), {"done": COUNT, "rejected": COUNT // 2}),
        (answer(429), {"done": COUNT, "rejected": COUNT}),
        (answer(503), {"done": COUNT, "failed": COUNT}),
        (drop_answer, {"conflict": COUNT, "failed": COUNT}),  # with ourselves
    ],
    ids=["some rejected", "all rejected", "failed", "answer lost"],
)
async def test_what_is_sent_again_is_counted(tasks, metrics, proxy, fault, expected):
    proxy.fault = bulks(fault, times=1)

    made = await asyncio.gather(*map(tasks.create, new_tasks()))

    assert len(made) == COUNT
    repeated = sum(expected.values()) - COUNT
    assert results(metrics) == expected
    assert total(metrics, "repeated_operations_total") == repeated
    assert total(metrics, "request_operations_sum") == COUNT + repeated
    bulk_requests = [request for request in proxy.requests if request.is_bulk]
    assert total(metrics, "request_duration_seconds_count") == len(bulk_requests)
