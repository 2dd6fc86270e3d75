"""Most nodes of Elasticsearch are gone at once, and come back with their disks."""

from __future__ import annotations

import pytest
from http_calls import Caller
from processes import run, running, status_of, wait_until

pytestmark = pytest.mark.elasticsearch

TASKS = 50


@pytest.fixture
def settings(three_nodes):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": ",".join(three_nodes.urls),
        "elasticsearch.replicas": 1,
    }


def test_nothing_is_lost_with_a_quorum_and_servers_go_on_when_it_is_back(
    three_nodes, settings, tmp_path
):
    """Meanwhile they say that they can not; nobody has to start them again."""
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        caller = Caller(server.wait_until_ready(120))
        created = [caller.create(queue="mail", id=f"{number}") for number in range(TASKS)]
        (claimed,) = caller.claim("mail")
        gone = three_nodes.nodes[:2]
        for node in gone:
            node.kill()

        ready = f"{caller.address}/health/ready"
        server.wait_for(lambda: status_of(ready, 20) == 503, "it is not ready")
        assert status_of(f"{caller.address}/health/live") == 200
        for path, body in (
            ("/tasques", {"queue": "mail", "kind": "k"}),
            ("/tasques/claims", {"queues": ["mail"], "block_for": "1s"}),
        ):
            status, said = caller.call("POST", path, body)
            assert status == 503 or said == [], said

        for node in gone:
            three_nodes.restart(node)
        server.wait_for(lambda: status_of(ready, 20) == 200, "it is ready", 120)
        assert wait_until(
            lambda: caller.call("GET", place(claimed))[0] == 200, "reads are answered"
        )
        caller.tell("done", claimed)
        left = {task["id"] for task in created} - {claimed["id"]}
        while tasks := caller.claim("mail", block_for="2s"):
            left -= {task["id"] for task in tasks}
        assert not left
    server.assert_calm()


def place(task):
    return f"/tasques/{task['queue']}/{task['id']}"
