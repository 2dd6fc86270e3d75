from __future__ import annotations

import asyncio

import pytest
from factories import a_claimed_task, a_task
from fakes import FakeClock

from tasques.api.connection import ClientGoneError, ClientWatch
from tasques.api.requests import RequestDefaults
from tasques.api.tasks import TaskHandlers
from tasques.services.giving_back import Claimed


class Connection:
    """A client that sent its body already and leaves when told."""

    def __init__(self, body=b""):
        self.left = asyncio.Event()
        self._body = body

    async def receive(self):
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_work_for_a_client_that_stays_is_not_disturbed():
    async with ClientWatch(Connection().receive) as client:
        await asyncio.sleep(0)

    assert not client.is_gone
    assert asyncio.current_task().cancelling() == 0


async def test_work_for_a_client_that_leaves_is_cancelled():
    connection = Connection()
    ended_by = None

    async with ClientWatch(connection.receive) as client:
        connection.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended_by = error
            raise

    assert client.is_gone
    assert isinstance(ended_by, asyncio.CancelledError)
    assert asyncio.current_task().cancelling() == 0


async def test_leaving_in_the_very_turn_in_which_the_work_ends_is_noticed():
    connection = Connection()
    async with ClientWatch(connection.receive) as client:
        await asyncio.sleep(0)
        connection.left.set()

    assert client.is_gone
    await asyncio.sleep(0)  # a cancellation that is under way would arrive here


async def test_work_that_ends_in_spite_of_the_cancellation_keeps_its_result():
    connection = Connection()
    result = None

    async with ClientWatch(connection.receive) as client:
        connection.left.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            result = "done all the same"

    assert client.is_gone
    assert result == "done all the same"
    assert asyncio.current_task().cancelling() == 0


async def test_an_error_of_the_work_is_passed_on():
    with pytest.raises(LookupError):
        async with ClientWatch(Connection().receive):
            raise LookupError


async def test_a_cancellation_by_somebody_else_is_passed_on():
    connection = Connection()
    started = asyncio.Event()

    async def work():
        async with ClientWatch(connection.receive):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    connection.left.set()
    with pytest.raises(asyncio.CancelledError):
        await task


class BrokerOfOneTask:
    """Claims a task while its client leaves."""

    def __init__(self, connection):
        self.claimed = [Claimed(a_claimed_task(), a_task())]
        self.given_back = []
        self._connection = connection

    async def claim(self, **_):
        await asyncio.sleep(0)
        self._connection.left.set()
        return self.claimed

    def give_back(self, claimed):
        self.given_back += claimed


async def test_what_was_claimed_for_a_client_that_left_is_given_back():
    connection = Connection(b'{"queues":["mail"]}')
    broker = BrokerOfOneTask(connection)
    handlers = TaskHandlers(None, broker, RequestDefaults(), FakeClock())
    scope = {"headers": [(b"x-tasques-worker-id", b"ghost")]}

    with pytest.raises(ClientGoneError):
        await handlers.claim(scope, connection.receive)

    assert broker.given_back == broker.claimed
