"""What every `PresenceRepository` promises, the one in memory included."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from random import Random
from socket import create_server

import pytest
from elasticsearch import AsyncElasticsearch
from fake_presence import InMemoryPresenceRepository, SignsOfLife
from proxy import Proxy, Response, bulks, drop_answer, only

from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError, UnavailableError
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.presence import ElasticsearchPresenceRepository
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup

PATIENCE = 60.0


class Processes:
    """Makes what each process has of its own, over one Elasticsearch."""

    def __init__(self, prefix):
        self._alias = IndexNames(prefix).processes_alias
        self._parts = []

    def on(self, client, deadline=PATIENCE):
        connection = Connection(client, authorization=None)
        clock = SystemClock()
        times = {"deadline": deadline, "request_timeout": deadline}
        writer = BulkWriter(connection, limits=WriteLimits(**times), clock=clock, random=Random(1))
        reader = DocumentReader(
            connection, clock=clock, random=Random(1), max_pending=1000, **times
        )
        self._parts.append((writer, reader))
        return ElasticsearchPresenceRepository(
            alias=self._alias,
            connection=connection,
            writer=writer,
            reader=reader,
            request_timeout=deadline,
        )

    async def end(self):
        for writer, reader in self._parts:
            await writer.close(PATIENCE)
            await reader.close()


async def set_up(elasticsearch, prefix, shards):
    """Nothing is refreshed but on demand."""
    await setup(
        elasticsearch,
        names=IndexNames(prefix),
        shards=shards,
        replicas=0,
        refresh_interval=timedelta(hours=1),
    )


@pytest.fixture
async def processes(prefix):
    processes = Processes(prefix)
    yield processes
    await processes.end()


@pytest.fixture
async def in_one_shard(elasticsearch, prefix, processes):
    await set_up(elasticsearch, prefix, shards=1)
    return lambda: processes.on(elasticsearch)


@pytest.fixture
async def in_two_shards(elasticsearch, prefix, processes):
    """Where the numbers of writes tell nothing."""
    await set_up(elasticsearch, prefix, shards=2)
    return lambda: processes.on(elasticsearch)


IN_ELASTICSEARCH = [
    pytest.param(each, marks=pytest.mark.elasticsearch)
    for each in ("in_one_shard", "in_two_shards")
]


@pytest.fixture(params=["memory", *IN_ELASTICSEARCH])
def make(request):
    """Makes repositories that see each other, one for each process."""
    if request.param == "memory":
        signs = SignsOfLife()
        return lambda: InMemoryPresenceRepository(signs)
    return request.getfixturevalue(request.param)


async def test_each_sign_of_life_has_a_version_of_its_own(make):
    """Whoever watches a process can tell a new sign of life from the one before."""
    process = make()

    versions = [(await process.beat("a"))["a"] for _ in range(5)]

    assert len(set(versions)) == 5


async def test_who_begins_sees_all_that_are_there(make):
    """A process knows from its first sign of life on with whom it shares the work."""
    first, second = make(), make()
    before = await first.beat("a")
    found = await second.beat("b")

    assert before.keys() == {"a"}
    assert found.keys() == {"a", "b"}
    assert found["a"] == before["a"]


async def test_processes_go_on_seeing_each_other(make):
    """However seldom the store shows by itself what is new: who lives does not look dead."""
    first, second = make(), make()
    await first.beat("a")
    seen = []
    for _ in range(6):
        await second.beat("b")
        seen.append((await first.beat("a")).get("b"))

    assert None not in seen[1:]
    looks = zip(seen[1:], seen[2:], seen[3:], strict=False)
    assert all(len(set(three)) > 1 for three in looks)


async def test_many_processes_that_begin_at_once_all_see_each_other(make):
    """None of them is overlooked for long."""
    names = [f"{number}" for number in range(20)]
    repositories = [make() for _ in names]

    for _ in range(3):
        found = await asyncio.gather(
            *(process.beat(name) for process, name in zip(repositories, names, strict=True))
        )

    assert all(each.keys() == set(names) for each in found)


async def test_who_was_removed_is_not_seen_any_more(make):
    """It can come back all the same."""
    first, second = make(), make()
    version = (await first.beat("a"))["a"]
    await second.beat("b")

    await first.remove("a", version)
    for _ in range(2):
        found = await second.beat("b")
    assert found.keys() == {"b"}

    await first.beat("a")
    for _ in range(2):
        found = await second.beat("b")
    assert found.keys() == {"a", "b"}


async def test_who_gave_a_sign_of_life_meanwhile_is_not_removed(make):
    """A process that was thought dead and is not stays where it is."""
    first, second = make(), make()
    old = (await first.beat("a"))["a"]
    new = (await first.beat("a"))["a"]

    await second.remove("a", old)

    assert (await second.beat("b"))["a"] == new


async def test_who_is_not_there_can_be_removed(make):
    """Two processes may forget the same dead one."""
    first, second = make(), make()
    version = (await first.beat("a"))["a"]
    await second.remove("a", version)

    await first.remove("a", version)
    await first.remove("b", version)

    assert (await second.beat("c")).keys() == {"c"}


async def test_who_was_forgotten_while_it_slept_comes_back(make):
    """A process that was frozen for long is there again with its second sign of life at last."""
    sleeper, other = make(), make()
    version = (await sleeper.beat("a"))["a"]
    await other.remove("a", version)

    with suppress(UnavailableError):
        await sleeper.beat("a")
    found = await sleeper.beat("a")

    assert (await other.beat("b"))["a"] == found["a"]


# ---------------------------------------------------------------- of Elasticsearch only


@pytest.fixture
async def proxy(elasticsearch_url):
    async with Proxy(elasticsearch_url) as proxy:
        yield proxy


@pytest.fixture
async def through_proxy(in_one_shard, processes, proxy):
    async with AsyncElasticsearch(proxy.url) as client:
        yield processes.on(client)


@pytest.mark.elasticsearch
async def test_a_sign_of_life_whose_answer_is_lost_was_given(through_proxy, proxy):
    """The first and any other: the process goes on with what is stored."""
    proxy.fault = bulks(drop_answer, times=1)
    first = await through_proxy.beat("a")
    proxy.fault = bulks(drop_answer, times=1)
    second = await through_proxy.beat("a")

    assert second["a"] != first["a"]
    assert (await through_proxy.beat("a"))["a"] not in (first["a"], second["a"])


def searches(proxy):
    return sum(request.path.endswith("_search") for request in proxy.requests)


@pytest.mark.elasticsearch
async def test_a_process_alone_writes_and_does_not_search(through_proxy, proxy):
    """Nothing is asked for of which the store has said that it is not there."""
    await through_proxy.beat("a")
    proxy.requests.clear()

    for _ in range(3):
        assert (await through_proxy.beat("a")).keys() == {"a"}

    assert [request.path for request in proxy.requests] == ["/_bulk"] * 3


@pytest.mark.elasticsearch
async def test_one_that_was_alone_searches_until_it_has_seen_what_another_wrote(
    through_proxy, proxy, in_one_shard
):
    """Who comes, and who leaves: whatever a search does not show yet, a later one does."""
    await through_proxy.beat("a")
    await through_proxy.beat("a")
    other = in_one_shard()
    there = (await other.beat("b"))["b"]

    assert (await through_proxy.beat("a")).keys() == {"a", "b"}
    await other.remove("b", there)
    found = [await through_proxy.beat("a") for _ in range(3)]
    assert found[-1].keys() == {"a"}
    proxy.requests.clear()
    assert (await through_proxy.beat("a")).keys() == {"a"}
    assert searches(proxy) == 0


@pytest.mark.elasticsearch
async def test_a_search_that_failed_is_made_up_for(through_proxy, proxy, in_one_shard):
    """The sign of life was given all the same, and the next one looks again."""
    await through_proxy.beat("a")
    await in_one_shard().beat("b")

    async def refuse(_):
        return Response(503, b"{}")

    proxy.fault = only(lambda request: request.path.endswith("/_search"), refuse)
    with pytest.raises(UnavailableError):
        await through_proxy.beat("a")
    proxy.fault = None

    assert (await through_proxy.beat("a")).keys() == {"a", "b"}


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "odd",
    [
        Response(200, b"<html>"),
        Response(200, b"{}"),
        Response(200, b"[]"),
        Response(200, b'{"_shards": {}, "hits": {"hits": []}}'),
        Response(502, b""),
    ],
)
async def test_an_odd_answer_is_an_error_that_passes(through_proxy, proxy, odd):
    """Whatever stands between us and Elasticsearch may say something of its own."""

    async def answer_oddly(_):
        return odd

    proxy.fault = only(lambda request: request.path.endswith("/_search"), answer_oddly)
    with pytest.raises(UnavailableError):
        await through_proxy.beat("a")

    proxy.fault = None
    assert (await through_proxy.beat("a")).keys() == {"a"}


@pytest.mark.elasticsearch
async def test_an_index_is_never_made_by_a_sign_of_life(elasticsearch, prefix, processes):
    """Without a set-up there is an error, and no index with guessed fields."""
    with pytest.raises(StoreUnavailableError):
        await processes.on(elasticsearch).beat("a")

    assert not await elasticsearch.indices.exists(index=IndexNames(prefix).processes_alias)


async def test_silence_is_an_error():
    """Where nobody listens, nobody is seen."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    processes = Processes("nowhere")
    async with AsyncElasticsearch(f"http://127.0.0.1:{port}") as client:
        process = processes.on(client, deadline=0.5)
        with pytest.raises(UnavailableError):
            await process.beat("a")
        await processes.end()
