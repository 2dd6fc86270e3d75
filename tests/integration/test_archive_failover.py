"""Nodes of Elasticsearch die while tasks are archived."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from archives import Bench, archive_ids
from elasticsearch import AsyncElasticsearch

from tasques.clock import SystemClock
from tasques.domain.errors import TasquesError, UnavailableError
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.unique import UniqueMarks

pytestmark = pytest.mark.elasticsearch

PATIENCE = 120.0


@pytest.fixture
async def bench(three_nodes):
    """Tasks and their archive in a cluster of three nodes, with a replica each."""
    names = IndexNames(f"test-{uuid4().hex}")
    async with AsyncElasticsearch(three_nodes.urls, request_timeout=PATIENCE) as client:
        await setup(
            client, names=names, shards=1, replicas=1, refresh_interval=timedelta(seconds=1)
        )
        await client.cluster.health(index=f"{names.prefix}-*", wait_for_status="green")
        connection = Connection(client, authorization=None)
        clock = SystemClock()
        writer = BulkWriter(connection, limits=WriteLimits(), clock=clock, random=Random())
        reader = DocumentReader(
            connection,
            clock=clock,
            random=Random(),
            deadline=60.0,
            request_timeout=5.0,
            max_pending=1000,
        )
        tasks = ElasticsearchTaskRepository(
            alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=connection,
            writer=writer,
            reader=reader,
            clock=clock,
            new_write_id=UniqueMarks(),
            request_timeout=5.0,
        )
        yield Bench(client, tasks, names.prefix, timeout=5.0)
        await writer.close(0)
        await reader.close()
        for index in await client.indices.get(index=f"{names.prefix}-*"):
            await client.indices.delete(index=index)


async def archive_in_passes(bench, until):
    """Pass after pass, as the leader does it; return how many were broken off."""
    broken_off = 0
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE
    while not await until():
        assert clock.monotonic() < end
        try:
            await bench.archiver().run_once()
        except TasquesError:
            broken_off += 1
        await clock.sleep(0.1)
    return broken_off


@pytest.mark.parametrize("of", ["tasks_index", "archive_index"])
async def test_a_node_that_is_killed_in_the_middle_of_archiving_loses_and_doubles_nothing(
    bench, three_nodes, of
):
    """The primary of the active or of the archive index dies: each task is archived once."""
    laid = await bench.lay(4000)
    index = getattr(bench.names, of)
    shards = await bench.client.cat.shards(index=index, h="prirep,node", format="json")
    name = next(shard["node"] for shard in shards if shard["prirep"] == "p")
    (node,) = (node for node in three_nodes.nodes if node.name == name)

    async def is_empty():
        with suppress(UnavailableError):
            return await bench.left() == 0
        return False

    async def kill_in_the_middle():
        while await bench.left() > 3000:  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.01)
        node.kill()

    try:
        await asyncio.gather(archive_in_passes(bench, is_empty), kill_in_the_middle())
        assert await bench.copies() == archive_ids(laid)
        for task in laid[::100]:
            assert await bench.is_there(task)
    finally:
        three_nodes.restart(node)
