from __future__ import annotations

import asyncio

import pytest

from tasques.api.answers import Answer
from tasques.api.delivery import deliver

LARGE = b"x" * 100_000


class Connection:
    """A server's side of a connection whose client takes what it is sent when it wants."""

    def __init__(self):
        self.room = asyncio.Event()
        self.room.set()
        self.left = asyncio.Event()
        self.sent = []

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        await self.room.wait()
        self.sent.append(message)
        if message.get("body"):
            self.room.clear()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_complete(self):
        return not self.sent[-1].get("more_body", False)


@pytest.fixture
def connection():
    return Connection()


@pytest.fixture
def undelivered():
    """Filled by an answer of which it is known that it was not delivered."""
    return []


def begin(connection, undelivered, body=LARGE):
    answer = Answer(200, body, on_undelivered=lambda: undelivered.append(body))
    return asyncio.create_task(deliver(connection.receive, connection.send, answer))


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_large_answer_is_delivered_when_it_was_taken(connection, undelivered):
    delivery = begin(connection, undelivered)
    await turns()
    assert not delivery.done()

    connection.room.set()
    await delivery

    assert connection.body == LARGE
    assert connection.is_complete
    assert undelivered == []


async def test_a_large_answer_whose_client_leaves_is_not_delivered(connection, undelivered):
    delivery = begin(connection, undelivered)
    await turns()

    connection.left.set()
    await turns()
    assert undelivered == [LARGE]

    connection.room.set()  # as there is for those that are not there
    await delivery


async def test_who_has_all_but_the_end_does_not_have_it(connection, undelivered):
    """A write that fails at once looks like one that was taken at once."""
    delivery = begin(connection, undelivered)
    await turns()
    assert len(connection.body) < len(LARGE)
    connection.room.set()
    connection.left.set()
    await delivery

    assert undelivered == [LARGE]


async def test_who_leaves_when_it_has_all_has_it(connection, undelivered):
    delivery = begin(connection, undelivered)
    await turns()
    connection.room.set()
    await delivery
    connection.left.set()
    await turns()

    assert undelivered == []


async def test_what_is_broken_off_is_not_delivered(connection, undelivered):
    delivery = begin(connection, undelivered)
    await turns()

    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery

    assert undelivered == [LARGE]


async def test_a_small_answer_is_sent_at_once(connection, undelivered):
    connection.left.set()
    await begin(connection, undelivered, b"[]")

    assert connection.body == b"[]"
    assert connection.is_complete
    assert undelivered == []


async def test_an_answer_that_may_get_lost_is_sent_at_once(connection):
    connection.left.set()
    await deliver(connection.receive, connection.send, Answer(200, LARGE))

    assert connection.body == LARGE
    assert connection.is_complete
