from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from factories import START
from scripted import ScriptedConnection

from tasques.domain.errors import StoreUnavailableError
from tasques.domain.lease import Lease, Server
from tasques.domain.task import Version
from tasques.repository.connection import NoAnswerError
from tasques.repository.leader_lock import ElasticsearchLeaderLock

LEASE = Lease(
    leader=Server("a", "host", 1),
    term=1,
    since=START,
    write=1,
    written_at=START,
    duration=timedelta(seconds=5),
)


@pytest.fixture
def connection():
    return ScriptedConnection()


@pytest.fixture
def lock(connection):
    return ElasticsearchLeaderLock(alias="t-leader", connection=connection, request_timeout=0.5)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (
            503,
            {"error": {"type": "unavailable_shards_exception", "reason": "no shard"}},
            "no shard",
        ),
        (429, {"error": {"type": "es_rejected_execution_exception", "reason": "full"}}, "full"),
        (404, {"error": {"type": "index_not_found_exception", "reason": "no index"}}, "no index"),
        (502, b"<html>Bad Gateway</html>", "Bad Gateway"),
        (200, b"<html>Welcome</html>", "Welcome"),
        (200, b"[]", "200"),
    ],
)
async def test_whatever_is_no_answer_is_an_error_that_says_why(
    connection, lock, status, body, reason
):
    connection.respond = lambda request: request.answer(status, body)

    with pytest.raises(StoreUnavailableError, match=reason):
        await lock.read()
    with pytest.raises(StoreUnavailableError, match=reason):
        await lock.write(LEASE)


async def test_a_write_without_an_answer_is_not_taken_for_one(connection, lock):
    connection.respond = lambda request: request.fail(NoAnswerError("timed out"))

    with pytest.raises(StoreUnavailableError, match="timed out"):
        await lock.write(LEASE)

    assert len(connection.requests) == 1


async def test_every_write_has_a_condition_and_a_limit(connection, lock):
    connection.respond = lambda request: request.answer(200, {"_seq_no": 8, "_primary_term": 3})

    await lock.write(LEASE)
    written = await lock.write(replace(LEASE, version=Version(7, 2)))

    first, second = connection.requests
    assert first.target == "/t-leader/_create/leader?require_alias=true&timeout=500ms"
    assert second.target == (
        "/t-leader/_doc/leader?if_seq_no=7&if_primary_term=2&require_alias=true&timeout=500ms"
    )
    assert first.timeout == second.timeout == 0.5
    assert written.version == Version(8, 3)
