"""`tasques setup` and `tasques server` with an Elasticsearch that comes, goes, and hangs."""

from __future__ import annotations

import json
from contextlib import closing
from socket import create_server

import pytest
from http_calls import Caller
from processes import Command, run, running, status_of, wait_until

from tasques.embedded import Cluster

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def settings(elasticsearch_url, prefix):
    """What a server of this test needs."""
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }


@pytest.fixture(scope="module")
def moody():
    """An Elasticsearch that this module stops, freezes and starts again, on one port."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with Cluster(http_port=port, heap="256m") as cluster:
        yield cluster


@pytest.fixture
def moody_settings(moody):
    """What a server of it needs; it runs, whatever the last test did to it."""
    if not moody.running:
        moody.restart(moody.nodes[0])
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": moody.urls[0],
        "elasticsearch.replicas": 0,
        "elasticsearch.write.deadline": "2s",
    }


def requests_in(log):
    """The lines of the log that are of requests, and none other mentions one."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "request"]


def test_a_server_refuses_what_is_not_set_up(tmp_path, settings):
    """Whoever forgot the set-up is told the command, and nothing is made by the server."""
    refused = run("server", folder=tmp_path, settings=settings, code=1)

    assert "tasques setup" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_set_up_can_be_repeated(tmp_path, settings):
    """The first time it says what it made, the second time that all is there."""
    first = run("setup", folder=tmp_path, settings=settings)
    second = run("setup", folder=tmp_path, settings=settings)

    assert settings["elasticsearch.index_prefix"] in first.stdout
    assert second.stdout == "Everything was there already.\n"
    with running("server", folder=tmp_path, settings=settings) as server:
        assert Caller(server.wait_until_ready()).create(queue="q")["state"] == "queued"


def test_a_server_waits_for_elasticsearch_and_outlives_its_restart(tmp_path, moody, moody_settings):
    """The order of starts does not matter, nor do restarts; meanwhile it says 503."""
    (node,) = moody.nodes
    run("setup", folder=tmp_path, settings=moody_settings)
    node.stop()
    with running("server", folder=tmp_path, settings=moody_settings) as server:
        server.wait_for(lambda: "waiting for Elasticsearch" in server.output, "it waits")
        moody.restart(node)
        address = server.wait_until_ready()
        task = Caller(address).create(queue="outlives")

        node.kill()
        wait_until(lambda: status_of(f"{address}/health/ready") == 503, "it is not ready")
        status, answer = Caller(address).call("POST", "/tasques", {"queue": "q", "kind": "k"})
        assert (status, answer["code"]) == (503, "store_unavailable")
        assert status_of(f"{address}/health/live") == 200

        moody.restart(node)
        server.wait_until_ready()
        claimed = Caller(address).claim("outlives")
        assert claimed[0]["id"] == task["id"]
    server.assert_calm()


def test_a_server_can_be_stopped_while_it_waits_for_elasticsearch(tmp_path, settings):
    """A stop does not have to wait for what may never come."""
    with closing(create_server(("127.0.0.1", 0))) as silent:  # takes connections, says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = Command(
            "server",
            folder=tmp_path,
            settings=settings | {"elasticsearch.addresses": address},
        )
        try:
            server.wait_for(server.handles_signals, "it handles signals")
            server.stop()
        finally:
            server.kill()
    server.assert_calm()


def test_a_server_ends_while_elasticsearch_hangs(tmp_path, moody, moody_settings):
    """Neither a claim nor a write that waits for Elasticsearch holds up the end."""
    (node,) = moody.nodes
    run("setup", folder=tmp_path, settings=moody_settings)
    settings = moody_settings | {"elasticsearch.write.deadline": "8s", "shutdown_timeout": "2s"}
    with running("server", folder=tmp_path, settings=settings) as server:
        worker = Caller(server.wait_until_ready())
        with worker.parked("parked", 5) as claims:
            node.pause()
            try:
                with worker.posted("/tasques", {"queue": "q", "kind": "k"}) as write:
                    assert status_of(f"{worker.address}/health/live") == 200  # it was read, too
                    server.process.terminate()
                    status, answer = write.answer()
                assert [claim.answer() for claim in claims] == [(200, [])] * 5
                server.stop()
            finally:
                node.resume()
    assert (status, answer["code"]) == (503, "outcome_unknown")
    server.assert_calm()


def test_requests_are_logged_without_what_is_secret(tmp_path, settings):
    """One line for each request, none for a good probe, and nothing in them that a client sent."""
    users = json.dumps([{"name": "user", "password": "S3CRET"}])
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings | {"auth.basic_auth": users}) as it:
        address = it.wait_until_ready()
        good = {"Authorization": "Basic dXNlcjpTM0NSRVQ="}
        wrong = {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="}
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        task = {"queue": "q", "kind": "k", "id": "S3CRET\n\x1b[31m", "args": {"token": "S3CRET"}}
        sent = [
            ("GET", "/health/ready", None, {}, 200),
            ("POST", "/tasques?token=S3CRET", task, good | trace, 201),
            ("POST", "/tasques", task, good, 409),
            ("POST", "/tasques", task | {"priority": "S3CRET"}, good, 400),
            ("GET", "/tasques/q/S3CRET%0A%1B%5B31m", None, good, 200),
            ("GET", "/tasques/q/S3CRET", None, wrong, 401),
            ("GET", "/S3CRET", None, good, 404),
            (
                "POST",
                "/tasques/claims",
                {"queues": ["empty"], "block_for": "0s"},
                good | {"X-TASQUES-WORKER-ID": "S3CRET"},
                200,
            ),
        ]
        statuses = [
            Caller(address).call(method, path, body, headers)[0]
            for method, path, body, headers, _ in sent
        ]
    assert statuses == [status for *_, status in sent]

    lines = requests_in(it.output)
    assert [(line["http.request.method"], line["http.response.status_code"]) for line in lines] == [
        (method, status) for method, path, *_, status in sent if "health" not in path
    ]
    assert lines[0]["http.route"] == "/tasques"
    assert lines[0]["trace.id"] == "0af7651916cd43dd8448eb211c80319c"
    for secret in ("S3CRET", "dXNlcjpTM0NSRVQ", "c2VjcmV0OnNlY3JldA", "\x1b", "token"):
        assert secret not in it.output
