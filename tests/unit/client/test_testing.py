"""The server in memory, as the tests of users use it; that it behaves as a server is tested with
the clients."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tasques.client import NewTask
from tasques.client.testing import FakeServer
from tasques.worker import Worker


async def test_a_worker_can_be_tried_out():
    server = FakeServer()
    worker = Worker(server.async_client(), queues=["mails"])

    @worker.handler("welcome")
    async def welcome(context):
        return {"to": context.args["to"]}

    @worker.handler("broken")
    def broken(_):
        raise ValueError("no")

    with server.client() as client:
        good = client.enqueue(NewTask("mails", "welcome", {"to": "ada"}))
        bad = client.enqueue(NewTask("mails", "broken", retry_times=1))

    await worker.drain()
    assert server.task(good).result.success == {"to": "ada"}
    assert server.task(bad).state == "failed"

    server.advance(timedelta(minutes=1))
    await worker.drain()
    assert server.task(bad).state == "dead"
    assert [each.state for each in server.tasks()] == ["done", "dead"]


def test_silent_workers_lose_their_claims():
    server = FakeServer()
    with server.client() as client:
        client.enqueue(NewTask("mails", "welcome"))
        (claimed,) = client.claim(["mails"], worker_id="w")

        server.advance(timedelta(minutes=29))
        client.report(claimed, {"half": True})
        server.advance(timedelta(minutes=29))
        assert server.task(claimed).state == "claimed"

        server.advance(timedelta(minutes=2))
        assert server.task(claimed).state == "failed"
        assert "timed_out" in server.task(claimed).result.failure


def test_what_was_shown_does_not_change():
    server = FakeServer()
    with server.client() as client:
        client.enqueue(NewTask("mails", "welcome"))
        (claimed,) = client.claim(["mails"], worker_id="w")
        done = client.done(claimed)

    assert claimed.result is None
    assert done.state == "done"


async def test_threads_and_loops_can_share_it():
    server = FakeServer()

    def enqueue(_):
        with server.client() as client:
            client.enqueue(NewTask("mails", "welcome"))

    await asyncio.gather(*(asyncio.to_thread(enqueue, number) for number in range(20)))

    async with server.async_client() as client:
        assert len(await client.claim([], worker_id="w", amount=100)) == 20
