"""Looking at Elasticsearch's clock."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from elasticsearch import AsyncElasticsearch
from scripted import ScriptedConnection

from tasques.background.clock_check import ClockCheck
from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError
from tasques.repository.connection import Connection
from tasques.repository.store_clock import ElasticsearchClock

PATIENCE = 60.0
HOUR = timedelta(hours=1)


class SkewedClock(SystemClock):
    """A clock that is an hour ahead."""

    def now(self) -> datetime:
        return super().now() + HOUR


def a_check(client: AsyncElasticsearch, clock: SystemClock) -> ClockCheck:
    store = ElasticsearchClock(Connection(client, authorization=None), request_timeout=PATIENCE)
    return ClockCheck(store=store, clock=clock, max_offset=timedelta(seconds=10))


@pytest.mark.elasticsearch
async def test_the_clock_of_this_host_is_that_of_its_elasticsearch(elasticsearch):
    """Two programs on one host see the same clock."""
    check = a_check(elasticsearch, SystemClock())

    await check.measure()

    assert check.is_good()
    assert check.warning() is None
    assert abs(check.offset) < timedelta(seconds=1)


@pytest.mark.elasticsearch
async def test_a_clock_that_is_an_hour_ahead_is_found_out(elasticsearch):
    """The offset is measured, whatever the request took."""
    check = a_check(elasticsearch, SkewedClock())

    await check.measure()

    assert not check.is_good()
    assert HOUR - timedelta(minutes=1) < check.offset < HOUR + timedelta(seconds=1)


async def test_the_timestamp_is_read_as_an_instant():
    connection = ScriptedConnection()
    connection.respond = lambda request: request.answer(
        200, {"nodes": {"a": {"timestamp": 1_700_000_000_123}}}
    )

    now = await ElasticsearchClock(connection, request_timeout=1.0).now()

    assert now == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, {"error": {"type": "security_exception", "reason": "no"}}), (200, {}), (200, b"hm")],
)
async def test_who_may_not_look_is_told_once(caplog, status, body):
    connection = ScriptedConnection()
    connection.respond = lambda request: request.answer(status, body)
    clock = ElasticsearchClock(connection, request_timeout=1.0)
    caplog.set_level(logging.WARNING)

    assert await clock.now() is None
    assert await clock.now() is None
    (record,) = caplog.records
    assert "cluster privilege monitor" in record.message


async def test_a_busy_elasticsearch_is_asked_again():
    connection = ScriptedConnection()
    connection.respond = lambda request: request.answer(503, {"error": "busy"})

    with pytest.raises(StoreUnavailableError, match="busy"):
        await ElasticsearchClock(connection, request_timeout=1.0).now()
