"""What every `LeaderLock` promises, the one in memory included."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from socket import create_server

import pytest
from elasticsearch import AsyncElasticsearch
from factories import START
from fake_leader_lock import InMemoryLeaderLock

from tasques.domain.errors import CorruptDocumentError, StoreUnavailableError
from tasques.domain.lease import Lease, Server
from tasques.domain.task import Version
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.leader_lock import ElasticsearchLeaderLock
from tasques.repository.setup import setup

PATIENCE = 60.0
A = Server("a", "host-\u00e9", 1)
B = Server("b", "host-\u00e9", 2**22)


def a_lease(leader=A, **members):
    values = {
        "leader": leader,
        "term": 1,
        "since": START,
        "write": 1,
        "written_at": START,
        "duration": timedelta(seconds=5),
    }
    return Lease(**{**values, **members})


@pytest.fixture
async def elasticsearch_lock(elasticsearch, prefix):
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=1, replicas=0, refresh_interval=timedelta(hours=1)
    )
    return ElasticsearchLeaderLock(
        alias=names.leader_alias,
        connection=Connection(elasticsearch, authorization=None),
        request_timeout=PATIENCE,
    )


@pytest.fixture(params=["memory", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def lock(request):
    if request.param == "memory":
        return InMemoryLeaderLock()
    return request.getfixturevalue("elasticsearch_lock")


async def test_before_anybody_led_there_is_no_lease(lock):
    """Nobody having led is an answer, not an error."""
    assert await lock.read() is None


@pytest.mark.parametrize(
    "lease",
    [
        a_lease(),
        a_lease(
            B,
            term=2**62,
            since=datetime(2026, 1, 1, 1, 2, 3, 456789, UTC),
            write=2**40,
            written_at=datetime(2026, 1, 1, 1, 2, 4, tzinfo=UTC),
            duration=timedelta(microseconds=1),
            is_resigned=True,
        ),
    ],
    ids=["plain", "extreme"],
)
async def test_a_lease_is_read_as_it_was_written(lock, lease):
    """Nothing of a lease is lost on the way, and the version is that of the write."""
    written = await lock.write(lease)

    assert written == replace(lease, version=written.version)
    assert written.version is not None
    assert await lock.read() == written


async def test_a_lease_is_renewed_on_its_last_version(lock):
    """Each write gets a new version, on which the next one rests."""
    first = await lock.write(a_lease())
    second = await lock.write(replace(first, write=2))

    assert second.is_same_write(a_lease(write=2))
    assert second.version != first.version
    assert await lock.read() == second


async def test_only_one_can_be_the_first(lock):
    """Of two servers that find no lease, the second is shown that of the first."""
    first = await lock.write(a_lease())

    assert await lock.write(a_lease(B)) == first
    assert await lock.read() == first


async def test_a_lease_that_has_changed_is_not_replaced(lock):
    """Whoever rests on an old version is shown what is there."""
    first = await lock.write(a_lease())
    second = await lock.write(replace(first, write=2))

    assert await lock.write(replace(first, leader=B)) == second
    assert await lock.read() == second


async def test_of_many_that_replace_one_lease_one_wins(lock):
    """All others are shown the lease of the one."""
    first = await lock.write(a_lease())
    rivals = [replace(first, leader=Server(str(n), "h", n), term=2) for n in range(8)]
    Random().shuffle(rivals)

    outcomes = await asyncio.gather(*(lock.write(rival) for rival in rivals))

    stored = await lock.read()
    assert outcomes == [stored] * 8
    assert stored.leader in {rival.leader for rival in rivals}


async def test_a_write_is_told_from_an_earlier_one_of_the_same_server(lock):
    """What is stored may be one's own, and yet not this write."""
    first = await lock.write(a_lease())
    await lock.write(replace(first, write=2))

    late = replace(first, write=3)
    found = await lock.write(late)

    assert found.leader == late.leader
    assert not found.is_same_write(late)


async def test_a_write_that_is_already_there_is_recognised(lock):
    """A write that Elasticsearch has repeated by itself conflicts with itself, and took place."""
    first = await lock.write(a_lease())
    renewal = replace(first, write=2)
    await lock.write(renewal)

    again = await lock.write(renewal)

    assert again.is_same_write(renewal)


async def test_a_lease_that_was_taken_away_is_not_renewed(lock, elasticsearch, prefix):
    """A leader whose document somebody deleted is told that there is none."""
    first = await lock.write(a_lease())
    if isinstance(lock, InMemoryLeaderLock):
        lock.store.stored = None
    else:
        await elasticsearch.delete(index=IndexNames(prefix).leader_alias, id="leader")

    assert await lock.write(replace(first, write=2)) is None
    assert await lock.read() is None


# ---------------------------------------------------------------- of Elasticsearch only


@pytest.mark.elasticsearch
async def test_an_index_is_never_made_by_a_write(elasticsearch, prefix):
    """Without a set-up there is an error, and no index with guessed fields."""
    lock = ElasticsearchLeaderLock(
        alias=f"{prefix}-leader",
        connection=Connection(elasticsearch, authorization=None),
        request_timeout=PATIENCE,
    )
    with pytest.raises(StoreUnavailableError, match="404"):
        await lock.read()
    with pytest.raises(StoreUnavailableError, match="404"):
        await lock.write(a_lease())
    with pytest.raises(StoreUnavailableError, match="404"):
        await lock.write(a_lease(version=Version(0, 1)))

    assert not await elasticsearch.indices.exists(index=f"{prefix}-leader")


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "damage", [{"pid": None}, {"leader_lock_lease": -1}, {"since": "0"}, {"term": 2**60}]
)
async def test_a_broken_lease_is_an_error_that_says_so(
    elasticsearch_lock, elasticsearch, prefix, damage
):
    """What an operator wrote by hand is not taken for a lease, and can be put right."""
    names = IndexNames(prefix)
    await elasticsearch_lock.write(a_lease())
    found = await elasticsearch.get(index=names.leader_alias, id="leader")
    broken = {**found["_source"], **damage}
    if damage == {"term": 2**60}:
        del broken["host"]
    await elasticsearch.index(index=names.leader_alias, id="leader", document=broken)

    with pytest.raises(CorruptDocumentError, match="leader"):
        await elasticsearch_lock.read()


@pytest.mark.elasticsearch
async def test_a_blocked_index_is_an_error_that_passes(elasticsearch_lock, elasticsearch, prefix):
    """While writing is blocked nobody can lead, and afterwards all goes on."""
    names = IndexNames(prefix)
    first = await elasticsearch_lock.write(a_lease())
    await elasticsearch.indices.put_settings(
        index=names.leader_alias, settings={"index.blocks.write": True}
    )
    with pytest.raises(StoreUnavailableError, match="blocked"):
        await elasticsearch_lock.write(replace(first, write=2))

    await elasticsearch.indices.put_settings(
        index=names.leader_alias, settings={"index.blocks.write": None}
    )
    assert (await elasticsearch_lock.write(replace(first, write=2))).write == 2


async def test_silence_is_an_error():
    """Where nobody listens, nobody knows who leads."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with AsyncElasticsearch(f"http://127.0.0.1:{port}") as client:
        lock = ElasticsearchLeaderLock(
            alias="a", connection=Connection(client, authorization=None), request_timeout=1.0
        )
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await lock.read()
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await lock.write(a_lease())
