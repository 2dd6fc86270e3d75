"""A worker whose server can not be reached, or whose answers are lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import httpx
import pytest

from tasques.client import AsyncClient, NewTask
from tasques.client.testing import FakeServer
from tasques.worker import Worker

PATIENCE = 60.0
SHORT = timedelta(milliseconds=300)


class Network:
    """The way to a server in memory, which loses what the test wants."""

    def __init__(self, *, loses_requests=0.0, loses_answers=0.0, seed=1):
        self.server = FakeServer()
        self.is_down = False
        self.paths = []
        self.random = Random(seed)
        self.loses_requests = loses_requests
        self.loses_answers = loses_answers

    def client(self):
        """A client that is on it; it gives up soon, and so leaves the rest to the worker."""
        transport = httpx.MockTransport(self._carry)
        return AsyncClient("http://tasques.invalid", timeout=SHORT, transport=transport)

    async def _carry(self, request):
        self.paths.append(request.url.path)
        if self.is_down:
            raise httpx.ConnectError("down")
        if self.random.random() < self.loses_requests:
            raise httpx.ReadTimeout("the request was lost")
        await asyncio.sleep(0.001)
        response = self.server.answer(request)
        if self.random.random() < self.loses_answers:
            raise httpx.ReadTimeout("the answer was lost")
        return response


def enqueue(server, count):
    with server.client() as client:
        return client.enqueue_many([NewTask("q", "k")] * count)


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.01)


async def test_results_are_kept_until_a_server_takes_them():
    network = Network()
    worker = Worker(network.client(), queues=["q"], stop_timeout=SHORT)
    started, go_on = asyncio.Event(), asyncio.Event()

    @worker.handler("k")
    async def slow(_):
        started.set()
        await go_on.wait()

    (task,) = enqueue(network.server, 1)
    run = asyncio.get_running_loop().create_task(worker.run())
    await started.wait()
    network.is_down = True
    go_on.set()
    await until(lambda: network.paths.count("/tasques/results/batch") > 3)
    network.is_down = False
    await until(lambda: network.server.task(task).state == "done")

    worker.stop()
    await asyncio.wait_for(run, PATIENCE)


@pytest.mark.parametrize("seed", range(3))
async def test_lost_answers_spoil_nothing(seed):
    """All are done, and none twice but for those that came back because their claim was lost."""
    network = Network(loses_requests=0.1, loses_answers=0.3, seed=seed)
    worker = Worker(network.client(), queues=["q"], concurrency=7)
    handled = Counter()

    @worker.handler("k")
    async def count(context):
        handled[context.task.id, context.task.attempted] += 1

    tasks = enqueue(network.server, 60)
    run = asyncio.get_running_loop().create_task(worker.run())

    def are_done():
        states = Counter(each.state for each in network.server.tasks())
        work = worker._work
        if states["queued"] == 0 and not work._running and not len(work._results):
            network.server.advance(timedelta(hours=1))  # nobody knows of the claims that are left
        return states["done"] == len(tasks)

    await until(are_done)
    worker.stop()
    await asyncio.wait_for(run, PATIENCE)

    assert {task_id for task_id, _ in handled} == {task.id for task in tasks}
    assert set(handled.values()) == {1}, "an attempt was worked on twice"


async def test_results_that_wait_go_together():
    network = Network()
    worker = Worker(network.client(), queues=["q"], concurrency=100)

    @worker.handler("k")
    async def nothing(_):
        pass

    enqueue(network.server, 300)
    await worker.drain()

    assert {each.state for each in network.server.tasks()} == {"done"}
    assert network.paths.count("/tasques/results/batch") < 30
    assert not any("/done/" in path for path in network.paths)


async def test_a_task_that_comes_back_ends_the_attempt_before():
    """The same worker may get it: what the first attempt says would count for the second."""
    server = FakeServer()
    worker = Worker(server.async_client(), queues=["q"], stop_timeout=SHORT)
    cancelled = []

    @worker.handler("k")
    async def first_is_stuck(context):
        if context.task.attempted > 1:
            return {"attempt": 2}
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.append(context.task.attempted)
            raise

    (task,) = enqueue(server, 1)
    run = asyncio.get_running_loop().create_task(worker.run())
    await until(lambda: server.task(task).state == "claimed")
    server.advance(timedelta(hours=1))
    server.task(task)  # its time is over
    server.advance(timedelta(hours=1))
    await until(lambda: server.task(task).state == "done")
    await until(lambda: cancelled == [1])

    assert server.task(task).result.success == {"attempt": 2}
    worker.stop()
    await asyncio.wait_for(run, PATIENCE)
