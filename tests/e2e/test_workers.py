"""`server.workers: 2`: two server processes on one port, under one that looks after them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from http_calls import Caller
from keep_alive import KeepAlive
from processes import descendants, exist, run, running, wait_until

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

CONNECTIONS = 40
TASKS = 2_000
WORKERS_OF_EACH = 8


@pytest.fixture
def settings(elasticsearch_url, prefix, tmp_path):
    """On an Elasticsearch that is set up."""
    settings = {
        "bind_address": "127.0.0.1:0",
        "workers": 2,
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    return settings


@pytest.fixture
def server(settings, tmp_path):
    """Both processes take requests."""
    with running("server", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()
        server.wait_for(lambda: len(listening(server)) == 2, "both listen")
        yield server
        remaining = descendants(server.process.pid)
    wait_until(lambda: not exist(remaining), "all processes have ended")


def lines(server):
    """All that was logged; each line is a whole one, whoever wrote it."""
    whole = server.output.rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def listening(server):
    """The processes that ever began to listen."""
    return {line["process.pid"] for line in lines(server) if line["message"] == "listening"}


def pids(processes):
    return {pid for pid, _ in processes}


def is_free(address):
    """Whether the port can be had by somebody else."""
    there = urlsplit(address)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind((there.hostname, there.port))
            other.listen()
        except OSError:
            return False
    return True


# ---------------------------------------------------------------- living and dying


def test_connections_go_to_both_and_the_log_is_one_stream(server):
    """Connections are spread evenly, and each line of the log says which process it is from."""
    caller = Caller(server.address())
    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            request = connections.enter_context(caller.posted("/tasques", {"queue": "q"}))
            assert request.answer()[0] == 400

    def served():
        return Counter(
            line["process.pid"] for line in lines(server) if line["message"] == "request"
        )

    server.wait_for(lambda: served().total() == CONNECTIONS, "all are logged")
    assert served().keys() == pids(descendants(server.process.pid))
    assert min(served().values()) > CONNECTIONS / 4
    assert len(listening(server)) == 2


def test_one_that_is_killed_is_started_again_and_requests_go_on(server):
    """There is always somebody who takes new connections."""
    caller = Caller(server.address())
    for _ in range(2):
        before = descendants(server.process.pid)
        victim, _ = min(before)
        os.kill(victim, signal.SIGKILL)
        for number in range(20):
            caller.create(queue=f"q-{victim}", id=f"{number}")
        server.wait_for(
            lambda before=before: len(descendants(server.process.pid) - before) == 1,
            "another is started",
        )
        server.wait_for(
            lambda: pids(descendants(server.process.pid)) <= listening(server), "it listens"
        )
        claimed = [task["id"] for _ in range(20) for task in caller.claim(f"q-{victim}")]
        assert sorted(claimed, key=int) == [f"{number}" for number in range(20)]

    deaths = [line for line in lines(server) if line["message"] == "a server process ended"]
    assert [line["exit_code"] for line in deaths] == [-signal.SIGKILL] * 2
    server.assert_calm()


def test_when_the_supervisor_is_killed_the_others_end_and_leave_the_port(server):
    """Nothing is left behind that would serve on, or keep a successor from the port."""
    address = server.address()
    children = descendants(server.process.pid)
    assert len(children) == 2
    with Caller(address).parked("empty", 4) as claims:
        server.kill()
        assert [claim.answer() for claim in claims] == [(200, [])] * 4

    wait_until(lambda: not exist(children), "the children have ended")
    wait_until(lambda: is_free(address), "the port is free")
    server.assert_calm()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(server, number):
    """Those who wait are answered, and the exit code is 0."""
    address = server.address()
    children = descendants(server.process.pid)
    with Caller(address).parked("empty", 20) as claims:
        server.process.send_signal(number)
        assert [claim.answer() for claim in claims] == [(200, [])] * 20
        server.stop(number)

    assert not exist(children)
    assert is_free(address)
    server.assert_calm()


def test_a_signal_to_the_whole_group_ends_all_in_order(server):
    """As Ctrl-C in a terminal does: nobody takes the end of the others for a death."""
    server.wait_until_ready()
    os.killpg(server.process.pid, signal.SIGINT)
    server.stop(signal.SIGINT)

    assert not [line for line in lines(server) if line["message"] == "a server process ended"]
    server.assert_calm()


def test_two_that_can_not_start_end_with_the_reason(settings, tmp_path):
    """Nobody tries again what must fail."""
    refused = run(
        "server",
        folder=tmp_path,
        settings=settings | {"elasticsearch.index_prefix": "not-set-up"},
        code=1,
    )

    assert "tasques setup" in refused.stderr
    assert "again_in_s" not in refused.stderr
    assert "Traceback" not in refused.stderr


# ---------------------------------------------------------------- sharing a queue


class Worker:
    """One that keeps its connection, and so its process."""

    def __init__(self, address, number):
        self.connection = KeepAlive()
        self.name = f"worker-{number}"
        self.claimed = []
        self._address = address

    async def call(self, method, path, body):
        return await self.connection.call(self._address, method, path, body, self.name)

    async def is_at_the_leader(self):
        """Which of the two processes serves it; None while nobody leads."""
        status, said = await self.call("GET", "/health/leader", None)
        return said["is_this_server"] if status == 200 else None

    async def work(self, is_over):
        """Claim and finish until it is over."""
        while not is_over():
            body = {"queues": ["mail"], "block_for": "1s"}
            status, tasks = await self.call("POST", "/tasques/claims", body)
            assert status == 200
            for task in tasks:
                self.claimed.append(task["id"])
                assert task["attempted"] == 1
                status, _ = await self.call("PUT", f"/tasques/done/mail/{task['id']}", {})
                assert status == 200


@pytest.fixture
async def workers(server):
    """As many at one process as at the other."""
    address = server.address()
    chosen, all_of_them = {True: [], False: []}, []
    try:
        async with asyncio.timeout(60):
            while min(map(len, chosen.values())) < WORKERS_OF_EACH:
                worker = Worker(address, len(all_of_them))
                all_of_them.append(worker)
                which = await worker.is_at_the_leader()
                if which is None or len(chosen[which]) >= WORKERS_OF_EACH:
                    await asyncio.sleep(0.01)
                else:
                    chosen[which].append(worker)
        yield chosen[True] + chosen[False]
    finally:
        for worker in all_of_them:
            worker.connection.abort()


@pytest.fixture
def signs_of_life(elasticsearch, prefix):
    """How many signs of life each process has given, by its id; all can be found from then on."""
    alias = IndexNames(prefix).processes_alias

    async def count():
        await elasticsearch.indices.refresh(index=alias)
        found = await elasticsearch.search(index=alias, version=True)
        return {hit["_id"]: hit["_version"] for hit in found["hits"]["hits"]}

    return count


@pytest.fixture
def conflicts(elasticsearch, prefix):
    """How many writes have failed because somebody else was faster."""

    async def count():
        stats = await elasticsearch.indices.stats(
            index=IndexNames(prefix).tasks_alias, metric="indexing"
        )
        indexing = stats["_all"]["primaries"]["indexing"]
        return indexing["index_failed_due_to_version_conflict"]

    return count


def all_have_looked(before, now):
    """Whether each has looked at the others since; with a sign of life it has begun to."""
    return all(now.get(process, 0) >= beats + 2 for process, beats in before.items())


async def test_two_processes_drain_one_queue_without_getting_in_each_others_way(
    server, workers, signs_of_life, conflicts
):
    """Each task goes to one worker, both processes hand out, and they seldom want the same one."""
    caller = Caller(server.address())
    is_over = False
    working = [asyncio.create_task(worker.work(lambda: is_over)) for worker in workers]
    try:
        async with asyncio.timeout(60):
            while len(first := await signs_of_life()) != 2:  # noqa: ASYNC110 - Elasticsearch has no events
                await asyncio.sleep(0.1)
            while not all_have_looked(first, await signs_of_life()):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            before = await conflicts()
            for start in range(0, TASKS, 1000):
                batch = [
                    {"id": f"{number}", "queue": "mail", "kind": "k"}
                    for number in range(start, start + 1000)
                ]
                status, _ = await asyncio.to_thread(
                    caller.call, "POST", "/tasques/batch", {"tasks": batch}
                )
                assert status == 200
            while sum(len(worker.claimed) for worker in workers) < TASKS:
                assert not any(each.done() for each in working)
                await asyncio.sleep(0.05)
        is_over = True
        await asyncio.gather(*working)
    finally:
        for each in working:
            each.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*working)

    shares = [
        [each for worker in half for each in worker.claimed]
        for half in (workers[:WORKERS_OF_EACH], workers[WORKERS_OF_EACH:])
    ]
    assert sorted(shares[0] + shares[1], key=int) == [f"{number}" for number in range(TASKS)]
    assert min(map(len, shares)) >= TASKS / 8  # a quarter of the mean
    made = await conflicts() - before
    assert made <= TASKS / 20
