"""Clients that go away while they wait for a task."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from http_calls import Caller
from processes import run, running

pytestmark = pytest.mark.elasticsearch

WAITING_CLIENT = """
import sys
sys.path[:] = eval(sys.argv[1])
from http_calls import Caller
with Caller(sys.argv[2], "ghost").parked(sys.argv[3], 1) as (claim,):
    print("waiting", flush=True)
    claim.answer()
"""


@pytest.fixture(scope="module")
async def address(elasticsearch, elasticsearch_url, tmp_path_factory):
    """Of a server that is used by the whole module."""
    folder = tmp_path_factory.mktemp("clients")
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": "test-clients",
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=folder, settings=settings)
    with running("server", folder=folder, settings=settings) as server:
        yield server.wait_until_ready()
    server.assert_calm()
    await elasticsearch.indices.delete(index="test-clients-tasks-v1")
    await elasticsearch.indices.delete_index_template(name="test-clients-tasks")


@pytest.fixture
def ghost(address):
    return Caller(address, "ghost")


@pytest.fixture
def alive(address):
    return Caller(address, "alive")


def gets_it_unspoilt(alive, queue):
    """A new task goes to who is alive, and none of its attempts was used up by another."""
    created = alive.create(queue=queue)
    (task,) = alive.claim(queue)
    assert task["id"] == created["id"]
    assert task["last_claimed"]["worker_id"] == "alive"
    assert task["attempted"] == 1


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("count", [1, 200])
def test_a_client_that_hangs_up_costs_nothing(ghost, alive, way, count):
    """However a connection ends: its claim is void, and a task is not spent on it."""
    queue = f"{way}-{count}"
    with ghost.parked(queue, count) as claims:
        for claim in claims:
            getattr(claim, way)()

        gets_it_unspoilt(alive, queue)


def test_a_client_that_is_killed_costs_nothing(address, alive):
    """Nobody can say good-bye when killed; the kernel does it for them."""
    command = [sys.executable, "-c", WAITING_CLIENT, repr(sys.path), address, "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "waiting\n"
        client.send_signal(signal.SIGKILL)
        client.wait()

    gets_it_unspoilt(alive, "killed")


def test_who_still_waits_is_served_after_those_who_left(ghost, alive):
    """Of many that wait, tasks go to those that are still there."""
    with ghost.parked("mixed", 50) as leaving, alive.parked("mixed", 5) as staying:
        for claim in leaving:
            claim.close()
        ids = {alive.create(queue="mixed")["id"] for _ in staying}
        answers = [claim.answer() for claim in staying]

    assert [status for status, _ in answers] == [200] * 5
    claimed = [task for _, tasks in answers for task in tasks]
    assert {task["id"] for task in claimed} == ids
    assert {task["attempted"] for task in claimed} == {1}
