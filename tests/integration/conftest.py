"""Fixtures for tests of what is done when requests to Elasticsearch get lost."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from elasticsearch import AsyncElasticsearch
from proxy import Proxy

from tasques.clock import SystemClock
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.unique import UniqueMarks


@pytest.fixture
async def names(elasticsearch, prefix):
    """Of indices that are set up, and refreshed when told and never else."""
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=2, replicas=0, refresh_interval=timedelta(hours=1)
    )
    return names


@pytest.fixture
async def proxy(elasticsearch_url):
    """Between the repositories of a test and Elasticsearch; its `fault` breaks requests."""
    async with Proxy(elasticsearch_url) as proxy:
        yield proxy


@pytest.fixture
async def make_repository(proxy, names):
    """Repositories behind the proxy; short times, as tests wait for some of them to pass."""
    made = []

    async def make(deadline=8.0, request_timeout=2.0, addresses=(), **limits):
        client = AsyncElasticsearch([proxy.url, *addresses])
        connection = Connection(client, authorization=None)
        clock = SystemClock()
        times = {"deadline": deadline, "request_timeout": request_timeout}
        writer = BulkWriter(
            connection, limits=WriteLimits(**times, **limits), clock=clock, random=Random()
        )
        reader = DocumentReader(connection, clock=clock, random=Random(), max_pending=1000, **times)
        made.append((client, writer, reader))
        return ElasticsearchTaskRepository(
            alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=connection,
            writer=writer,
            reader=reader,
            clock=clock,
            new_write_id=UniqueMarks(),
            request_timeout=request_timeout,
        )

    yield make
    proxy.fault = None
    for client, writer, reader in made:
        await writer.close(0)
        await reader.close()
        await client.close()
