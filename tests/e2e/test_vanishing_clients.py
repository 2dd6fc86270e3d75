"""Clients that go away while they are being served, in every phase of a claim."""

from __future__ import annotations

import json
import signal
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from gates import Gate, proxied
from http_calls import Caller
from processes import run, running, wait_until

pytestmark = pytest.mark.elasticsearch

WAYS = ["close", "reset"]
MIB = 1024 * 1024
SMALL_BUFFER = 4096
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def without_version(task):
    """What a task is, however often it was written."""
    return task | {"metadata": {**task["metadata"], "version": None}}


class Bench:
    """A server, what it says to Elasticsearch, a client that will vanish, and one that will not."""

    def __init__(self, server, proxy, address):
        self.server = server
        self.proxy = proxy
        self.ghost = Caller(address, "ghost")
        self.alive = Caller(address, "alive")

    @contextmanager
    def gate(self, is_meant, *, executed, answered=True):
        """Hold a request to Elasticsearch during the block, at most."""
        gate = self.proxy.fault = Gate(is_meant, executed=executed, answered=answered)
        try:
            yield gate
        finally:
            gate.open()
            self.proxy.fault = None

    @contextmanager
    def stopped(self):
        """The server does not run during the block; what happens is there for it at once after."""
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)

    def is_undone(self, created):
        """The task is as it was when it was created: nobody holds it, no attempt is used up."""
        wait_until(
            lambda: without_version(self.alive.get(created)) == without_version(created),
            "the claim is undone",
        )

    def is_for_the_living(self, created):
        """No trace is left of the one that has gone, and another gets the task."""
        self.is_undone(created)
        (claimed,) = self.alive.claim(created["queue"])
        assert claimed["id"] == created["id"]
        assert claimed["attempted"] == 1
        assert claimed["last_claimed"]["worker_id"] == "alive"
        self.alive.tell("done", claimed)


@pytest.fixture(scope="module")
async def bench(elasticsearch, elasticsearch_url, tmp_path_factory):
    """Used by the whole module."""
    folder = tmp_path_factory.mktemp("vanishing")
    prefix = f"test-{uuid4().hex}"
    with proxied(elasticsearch_url) as proxy:
        settings = {
            "bind_address": "127.0.0.1:0",
            "elasticsearch.addresses": proxy.url,
            "elasticsearch.index_prefix": prefix,
            "elasticsearch.replicas": 0,
        }
        run("setup", folder=folder, settings=settings)
        with running("server", folder=folder, settings=settings) as server:
            yield Bench(server, proxy, server.wait_until_ready())
    server.assert_calm()
    for index in (await elasticsearch.indices.get(index=f"{prefix}-*")).body:
        await elasticsearch.indices.delete(index=index)
    for template in (await elasticsearch.indices.get_index_template())["index_templates"]:
        if template["name"].startswith(prefix):
            await elasticsearch.indices.delete_index_template(name=template["name"])


@pytest.fixture
def queue(request):
    """One for each test."""
    return "".join(each if each.isalnum() else "-" for each in request.node.name)[-60:].strip("-")


def search_for(queue):
    """A search in that queue."""
    name = json.dumps(queue).encode()
    return lambda request: request.path.endswith("/_msearch") and name in request.body


def claim_by_ghost(request):
    """The write of a claim of the one that vanishes."""
    return request.is_bulk and b'"ghost"' in request.body


def create_for_ghost(request):
    """The write of a new task that the one that vanishes has waited for."""
    return claim_by_ghost(request) and b'{"create":' in request.body


def claim(queue, amount=1):
    return "/tasques/claims", {"queues": [queue], "amount": amount, "block_for": "20s"}


# ---------------------------------------------------------------- phase by phase


@pytest.mark.parametrize("way", WAYS)
def test_who_goes_while_it_is_searched_for(bench, queue, way):
    """What the search finds is for others."""
    created = bench.alive.create(queue=queue)
    with (
        bench.gate(search_for(queue), executed=True) as gate,
        bench.ghost.posted(*claim(queue)) as request,
    ):
        gate.wait_until_reached()
        getattr(request, way)()

    bench.is_for_the_living(created)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("executed", "answered"),
    [(False, True), (True, True), (True, False), (False, False)],
    ids=["dealt", "written", "written_unanswered", "dealt_unanswered"],
)
def test_who_goes_while_its_claim_is_written(bench, queue, way, executed, answered):
    """Whether the write was still to be executed, was executed, or nobody knows: it is undone."""
    created = bench.alive.create(queue=queue)
    with (
        bench.gate(claim_by_ghost, executed=executed, answered=answered) as gate,
        bench.ghost.posted(*claim(queue)) as request,
    ):
        gate.wait_until_reached()
        getattr(request, way)()

    bench.is_for_the_living(created)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("executed", "answered"),
    [(False, True), (True, True), (True, False), (False, False)],
    ids=["sent", "written", "written_unanswered", "sent_unanswered"],
)
def test_who_goes_while_a_task_is_created_in_its_hands(bench, queue, way, executed, answered):
    """The task is created all the same, and as if nobody had waited for it."""
    with (
        bench.ghost.parked(queue, 1) as (request,),
        ThreadPoolExecutor() as pool,
        bench.gate(create_for_ghost, executed=executed, answered=answered) as gate,
    ):
        creating = pool.submit(bench.alive.create, queue=queue)
        gate.wait_until_reached()
        getattr(request, way)()
        gate.open()
        created = creating.result()

    assert created["state"] == "queued"
    bench.is_for_the_living(created)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["the answer", "the end"])
def test_who_goes_at_the_very_moment_of_its_answer(bench, queue, way, first):
    """The server learns at one time that the claim was written and that nobody waits for it."""
    created = bench.alive.create(queue=queue)
    with (
        bench.gate(claim_by_ghost, executed=True) as gate,
        bench.ghost.posted(*claim(queue)) as request,
    ):
        gate.wait_until_reached()
        with bench.stopped():
            if first == "the answer":
                gate.open()
                getattr(request, way)()
            else:
                getattr(request, way)()
                gate.open()

    bench.is_for_the_living(created)


@pytest.mark.parametrize("way", WAYS)
def test_many_that_go_while_their_claims_are_written(bench, queue, way):
    """All that one request carries is undone, and each task once."""
    created = [bench.alive.create(queue=queue, id=f"{number}") for number in range(50)]
    with bench.gate(claim_by_ghost, executed=True) as gate:
        requests = [bench.ghost.posted(*claim(queue, amount=10)) for _ in range(5)]
        entered = [request.__enter__() for request in requests]
        gate.wait_until_reached()
        for request in entered:
            getattr(request, way)()

    for task in created:
        bench.is_undone(task)


@pytest.mark.parametrize("way", WAYS)
def test_who_goes_in_the_middle_of_its_answer(bench, queue, way):
    """Nobody can work on half an answer, so nothing of it is held."""
    created = [
        bench.alive.create(queue=queue, id=f"{number}", args={"data": "x" * MIB})
        for number in range(12)
    ]
    there = urlsplit(bench.ghost.address)
    path, body = claim(queue, amount=12)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.connect((there.hostname, there.port))
        text = json.dumps(body)
        head = f"POST {path} HTTP/1.1\r\nHost: t\r\nX-TASQUES-WORKER-ID: ghost\r\n"
        connection.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        if way == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    for task in created:
        bench.is_undone(task)


def test_who_takes_the_whole_of_a_large_answer_keeps_it(bench, queue):
    """However slowly it is taken, and although the connection ends after it."""
    for number in range(4):
        bench.alive.create(queue=queue, id=f"{number}", args={"data": "x" * MIB})
    path, body = claim(queue, amount=4)
    status, tasks = bench.alive.call("POST", path, body, {"Connection": "close"})

    assert status == 200
    assert [task["id"] for task in tasks] == ["0", "1", "2", "3"]
    for task in tasks:
        assert bench.alive.tell("done", task)["attempted"] == 1
