"""Three servers behind a load balancer are replaced one by one, while they are in use.

TASQUES_TEST_ROUNDS says how often; five are the whole proof.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import ExitStack, suppress

import pytest
from keep_alive import KeepAlive, LostError, RefusedError
from processes import run, running
from relay import Balancer

pytestmark = pytest.mark.elasticsearch

ROUNDS = int(os.environ.get("TASQUES_TEST_ROUNDS", "1"))
SERVERS = 3
PRODUCERS = 8
WORKERS = 16
PAUSE = 0.05  # seconds between two tasks of a producer
PATIENCE = 60.0


@pytest.fixture
def settings(elasticsearch_url, prefix, tmp_path):
    settings = {
        "bind_address": "127.0.0.1:0",
        "drain_delay": "3s",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    return settings


class Deployment:
    """Servers, as Kubernetes replaces them: another one is ready before one is told to end."""

    def __init__(self, stack, folder, settings, balancer):
        self._stack, self._folder, self._settings = stack, folder, settings
        self._balancer = balancer
        self._servers = []

    async def start_one(self):
        server = self._stack.enter_context(
            running("server", folder=self._folder, settings=self._settings)
        )
        self._balancer.add(await asyncio.to_thread(server.wait_until_ready))
        self._servers.append(server)

    async def replace_one(self):
        await self.start_one()
        oldest = self._servers.pop(0)
        address = oldest.address()
        await asyncio.to_thread(oldest.stop)
        self._balancer.remove(address)
        oldest.assert_calm()


@pytest.fixture
async def balancer():
    async with Balancer(interval=0.5) as balancer:
        watching = asyncio.create_task(balancer.watch())
        yield balancer
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


@pytest.fixture
async def deployment(tmp_path, settings, balancer, request):
    with ExitStack() as stack:
        deployment = Deployment(stack, tmp_path, settings | request.param, balancer)
        for _ in range(SERVERS):
            await deployment.start_one()
        yield deployment


class Load:
    """Clients that keep their connections, and repeat what was not answered."""

    def __init__(self, address):
        self._address = address
        self._is_over = False
        self.created = []
        self.handed_out = []
        self.done = set()
        self.broken = 0

    async def produce(self, name):
        """Enqueue tasks until it is over."""
        connection = KeepAlive()
        count = 0
        while not self._is_over:
            task = {"queue": "mail", "kind": "k", "id": f"{name}-{count}"}
            status, broken = (await self._call(connection, "POST", "/tasques", task))[::2]
            assert status == 201 or (status == 409 and broken)
            self.created.append(task["id"])
            count += 1
            await asyncio.sleep(PAUSE)
        connection.abort()

    async def work(self, name):
        """Finish tasks until all are done and it is over."""
        connection = KeepAlive()
        claim = {"queues": ["mail"], "block_for": "2s"}
        while not (self._is_over and self.done.issuperset(self.created)):
            status, tasks, _ = await self._call(connection, "POST", "/tasques/claims", claim, name)
            assert status == 200
            for task in tasks:
                self.handed_out.append((task["id"], task["attempted"]))
                path = f"/tasques/done/mail/{task['id']}"
                status, _, _ = await self._call(connection, "PUT", path, {}, name)
                assert status == 200
                self.done.add(task["id"])
        connection.abort()

    async def _call(self, connection, *request):
        """Status, answer, and whether it was sent more than once."""
        broken = 0
        while True:
            try:
                status, answer = await connection.call(self._address, *request)
            except (LostError, RefusedError):
                broken += 1
            else:
                break
        self.broken += broken
        assert status < 500, answer
        return status, answer, broken > 0

    def end(self):
        self._is_over = True


@pytest.mark.parametrize("deployment", [{"workers": 1}, {"workers": 2}], indirect=True, ids=str)
async def test_servers_are_replaced_and_no_client_notices(deployment, balancer):
    """Nothing is refused, lost, or done twice; connections that break are few."""
    load = Load(balancer.url)
    async with asyncio.timeout(PATIENCE * (1 + ROUNDS)), asyncio.TaskGroup() as group:
        for number in range(PRODUCERS):
            group.create_task(load.produce(f"producer-{number}"))
        for number in range(WORKERS):
            group.create_task(load.work(f"worker-{number}"))
        for _ in range(ROUNDS * SERVERS):
            await deployment.replace_one()
        load.end()

    assert load.done == set(load.created)
    assert len(load.created) == len(set(load.created))
    assert max(Counter(load.handed_out).values()) == 1
    if not load.broken:  # else a claim may have ended with its connection
        assert {attempted for _, attempted in load.handed_out} == {1}
    assert load.broken < PRODUCERS + WORKERS
