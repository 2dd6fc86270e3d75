"""Fixtures for every test."""

from __future__ import annotations

import os
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch
from embedded_fixtures import *  # noqa: F403 - fixtures are found by being here
from hypothesis import settings

from tasques.clock import SystemClock
from tasques.repository.archive import ElasticsearchTaskArchive
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.lifecycle import RolloverConditions
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.unique import UniqueMarks

KEPT = {
    "TASQUES_CACHE",
    "TASQUES_ES_HOME",
    "TASQUES_JAVA_HOME",
    "TASQUES_TEST_ROUNDS",
    "TASQUES_TEST_SEEDS",
    "TASQUES_MAVEN_REPOSITORY",
    "TASQUES_TEST_ELASTICSEARCH",
}
PATIENCE = 60.0  # seconds; what is slow here is the machine

# A time limit for each example would fail on a busy machine.
settings.register_profile("tasques", deadline=None)
settings.load_profile("tasques")


def pytest_configure(config):
    """What is set outside must not set up what is tested."""
    # aiohttp warns of bodies over 1 MiB, and offers nothing that the client's nodes could do.
    config.addinivalue_line(
        "filterwarnings", "ignore:Sending a large body directly:ResourceWarning"
    )
    for name in [name for name in os.environ if name.startswith("TASQUES_")]:
        if name not in KEPT:
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What was logged goes from process to process, whatever characters a test has logged."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
async def elasticsearch(elasticsearch_url):
    """A client of the Elasticsearch of this run."""
    async with AsyncElasticsearch(elasticsearch_url, request_timeout=PATIENCE) as client:
        yield client


@pytest.fixture
async def prefix(elasticsearch):
    """Names that begin with this are the test's own, and are gone after it."""
    prefix = f"test-{uuid4().hex}"
    yield prefix
    # By their full names: Elasticsearch may refuse to delete by a pattern, and rightly so.
    indices = await elasticsearch.indices.get(index=f"{prefix}*", expand_wildcards="all")
    for index in indices.body:
        await elasticsearch.indices.delete(index=index)
    # Not by a pattern: where no template matches, that is an error.
    templates = await elasticsearch.indices.get_index_template()
    for template in templates["index_templates"]:
        if template["name"].startswith(prefix):
            await elasticsearch.indices.delete_index_template(name=template["name"])


@pytest.fixture
async def elasticsearch_repository(elasticsearch, prefix):
    """A repository with an index of its own, which is refreshed when told and never else.

    The index has a field that this Tasques does not know, as after a set-up by a newer one.
    """
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=2, replicas=0, refresh_interval=timedelta(hours=1)
    )
    await elasticsearch.indices.put_mapping(
        index=names.tasks_index, properties={"from_tomorrow": {"type": "object", "enabled": False}}
    )
    connection = Connection(elasticsearch, authorization=None)
    clock = SystemClock()
    limits = WriteLimits(deadline=PATIENCE, request_timeout=PATIENCE)
    writer = BulkWriter(connection, limits=limits, clock=clock, random=Random())
    reader = DocumentReader(
        connection,
        clock=clock,
        random=Random(),
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


@pytest.fixture
async def elasticsearch_archive(elasticsearch, elasticsearch_repository, prefix):
    """The archive of the tasks of `elasticsearch_repository`."""
    names = IndexNames(prefix)
    await elasticsearch.indices.put_mapping(
        index=names.archive_index,
        properties={"from_tomorrow": {"type": "object", "enabled": False}},
    )
    return ElasticsearchTaskArchive(
        tasks_alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=Connection(elasticsearch, authorization=None),
        conditions=RolloverConditions(max_age="1d", max_primary_shard_size="50gb", max_docs=5),
        max_bytes=1024 * 1024,
        request_timeout=PATIENCE,
    )
