from __future__ import annotations

import logging

import orjson
import pytest
from scripted import ScriptedConnection

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.connection import NoAnswerError
from tasques.repository.last_write import LastWrite


def copy(number, done=None, *, is_primary=True):
    numbers = {"max_seq_no": number, "local_checkpoint": number if done is None else done}
    return {"routing": {"primary": is_primary}, "seq_no": numbers}


def answer(*shards):
    numbered = {str(number): copies for number, copies in enumerate(shards)}
    return {"indices": {"index-v1": {"shards": numbered}}}


@pytest.fixture
def connection():
    return ScriptedConnection()


@pytest.fixture
def last_write(connection):
    return LastWrite(alias="index", connection=connection, request_timeout=1)


@pytest.mark.parametrize("number", [-1, 0, 17])
async def test_the_number_is_that_of_the_primary(connection, last_write, number):
    replicas = [copy(number - 1, is_primary=False), copy(number + 1, is_primary=False)]
    connection.respond = lambda request: request.answer(200, answer([*replicas, copy(number)]))

    assert await last_write.number() == number


@pytest.mark.parametrize(
    "body",
    [
        answer([copy(17, done=16)]),
        answer([copy(17, is_primary=False)]),
        answer([copy(17)], [copy(17)]),
        answer([]),
        answer(),
        {"indices": {}},
        {},
        [],
        {"indices": {"index-v1": {"shards": {"0": [{"routing": {"primary": True}}]}}}},
        b"<html>",
        b"",
    ],
    ids=lambda body: body.decode() if isinstance(body, bytes) else orjson.dumps(body).decode(),
)
async def test_what_does_not_tell_it_for_certain_is_no_number(connection, last_write, body):
    """A write under way, no primary, several shards, and whatever is no such answer."""
    connection.respond = lambda request: request.answer(200, body)

    assert await last_write.number() is None


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_who_can_not_tell_now_is_asked_again(connection, last_write, status):
    connection.respond = lambda request: request.answer(status, answer([copy(17)]))
    assert await last_write.number() is None

    connection.respond = lambda request: request.answer(200, answer([copy(17)]))
    assert await last_write.number() == 17


async def test_who_may_not_ask_says_so_and_asks_no_more(connection, last_write, caplog):
    caplog.set_level(logging.INFO)
    error = {"error": {"type": "security_exception", "reason": "indices:monitor/stats"}}
    connection.respond = lambda request: request.answer(403, error)

    assert [await last_write.number() for _ in range(3)] == [None] * 3

    assert len(connection.requests) == 1
    (record,) = caplog.records
    assert "privilege monitor" in record.message
    assert record.reason == "indices:monitor/stats"


async def test_silence_is_an_error(connection, last_write):
    connection.respond = lambda request: request.fail(NoAnswerError("silence"))

    with pytest.raises(StoreUnavailableError):
        await last_write.number()
