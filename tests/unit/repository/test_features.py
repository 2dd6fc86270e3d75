from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from elasticsearch import AsyncElasticsearch

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.features import Features, probe
from tasques.repository.setup_errors import SetupError


@asynccontextmanager
async def an_elasticsearch(*, nodes=None, settings=None, settings_status=200):
    """A client of a server that answers what a probe asks."""
    answers = {
        "/_nodes/_local": (200, {"nodes": nodes if nodes is not None else {"a": at("8.19.9")}}),
        "/_cluster/settings": (settings_status, settings or {}),
    }

    async def answer(request):
        status, body = answers[request.path]
        headers = {"X-Elastic-Product": "Elasticsearch"}
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with (
        TestServer(app) as server,
        AsyncElasticsearch(str(server.make_url("")), max_retries=0) as client,
    ):
        yield client


def at(version):
    return {"version": version}


@pytest.mark.parametrize("kind", ["defaults", "persistent", "transient"])
async def test_a_cluster_with_a_lifecycle_has_its_settings(kind):
    settings = {kind: {"indices": {"lifecycle": {"poll_interval": "10m"}}}}

    async with an_elasticsearch(settings=settings) as client:
        assert await probe(client) == Features(has_lifecycle=True, version=(8, 19, 9))


async def test_a_cluster_without_a_lifecycle_has_none_of_its_settings():
    async with an_elasticsearch(settings={}) as client:
        assert await probe(client) == Features(has_lifecycle=False, version=(8, 19, 9))


async def test_an_outage_is_not_taken_for_a_missing_lifecycle():
    async with an_elasticsearch(settings_status=503) as client:
        with pytest.raises(StoreUnavailableError, match="settings of the cluster"):
            await probe(client)


@pytest.mark.parametrize(
    ("text", "version"),
    [("8.4.0", (8, 4, 0)), ("9.2.0", (9, 2, 0)), ("10.0.1-SNAPSHOT", (10, 0, 1))],
)
async def test_newer_versions_are_taken(text, version):
    async with an_elasticsearch(nodes={"a": at(text)}) as client:
        assert (await probe(client)).version == version


async def test_version_7_is_refused():
    async with an_elasticsearch(nodes={"a": at("7.17.28")}) as client:
        with pytest.raises(SetupError, match=r"is 7\.17\.28; Tasques needs 8\.4\.0"):
            await probe(client)


@pytest.mark.parametrize("nodes", [{}, {"a": {}}, {"a": at("new")}])
async def test_a_version_that_is_none_is_refused(nodes):
    async with an_elasticsearch(nodes=nodes) as client:
        with pytest.raises(SetupError, match="does not tell its version"):
            await probe(client)
