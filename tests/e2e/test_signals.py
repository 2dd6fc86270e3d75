"""The end of a server that is in use."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from http_calls import Caller
from processes import PATIENCE, run, running, status_of, wait_until

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def settings(elasticsearch_url, prefix, tmp_path):
    """Of a server on an Elasticsearch that is set up."""
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    return settings


def connect(address):
    there = urlsplit(address)
    return socket.create_connection((there.hostname, there.port))


def refuses(address):
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT] * 2, [signal.SIGTERM] * 2])
def test_claims_that_wait_are_answered_at_the_end(tmp_path, settings, signals):
    """Whoever waits gets an answer, idle and slow connections hold up nothing, and 0 is told."""
    with ExitStack() as stack:
        server = stack.enter_context(running("server", folder=tmp_path, settings=settings))
        address = server.wait_until_ready()
        idle = [stack.enter_context(connect(address)) for _ in range(20)]
        for each in idle[:10]:  # kept alive after a request, as opposed to never used
            each.sendall(b"GET /health/live HTTP/1.1\r\nHost: tasques\r\n\r\n")
            assert each.recv(4096).startswith(b"HTTP/1.1 200")
        slow = stack.enter_context(connect(address))
        slow.sendall(b'POST /tasques HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\n{"queue"')
        claims = stack.enter_context(Caller(address).parked("empty", 100))

        for number in signals:
            server.process.send_signal(number)
        answers = [claim.answer() for claim in claims]
        assert slow.recv(4096).startswith(b"HTTP/1.1 503")
        server.stop(signals[-1])

    assert answers == [(200, [])] * 100
    server.assert_calm()


def test_nobody_is_let_in_any_more_at_the_end(tmp_path, settings):
    """While the last requests are served, new connections are refused: others take them."""
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        with connect(address) as slow:
            slow.sendall(b"POST /tasques HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\n{")
            server.process.terminate()
            wait_until(lambda: refuses(address), "new connections are refused")
        server.stop()


FOR_LONG = {"drain_delay": "10m"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_says_that_it_is_not_ready_before_it_lets_nobody_in(tmp_path, settings, workers):
    """Whoever distributes requests sends none any more; those that come are served."""
    settings = settings | {"drain_delay": "2s", "workers": workers}
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        caller = Caller(address)
        server.process.terminate()
        wait_until(lambda: status_of(f"{address}/health/ready") == 503, "it is not ready")

        status, said = caller.call("GET", "/health/ready")
        assert (status, said["code"]) == (503, "not_ready")
        assert status_of(f"{address}/health/live") == 200
        task = caller.create(queue="q")
        assert [each["id"] for each in caller.claim("q")] == [task["id"]]

        wait_until(lambda: refuses(address), "new connections are refused")
        assert server.process.wait(PATIENCE) == 0
    server.assert_calm()


def test_who_keeps_a_connection_is_told_to_make_another_one(tmp_path, settings):
    """With the next answer, or with that which is under way: so no request meets a closed one."""
    with running("server", folder=tmp_path, settings=settings | FOR_LONG) as server:
        address = server.wait_until_ready()
        there = urlsplit(address)
        kept = HTTPConnection(there.hostname, there.port, timeout=PATIENCE)

        def answer_on_kept():
            kept.request("GET", "/health/live")
            answer = kept.getresponse()
            answer.read()
            return answer.getheader("connection")

        caller = Caller(address)
        with closing(kept), caller.parked("q", 1) as (waiting,):
            assert answer_on_kept() is None
            server.process.terminate()
            wait_until(lambda: status_of(f"{address}/health/ready") == 503, "it is not ready")

            assert answer_on_kept() == "close"
            caller.create(queue="q")
            answer = waiting.connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, "close")
        server.stop(signal.SIGINT)
    server.assert_calm()


@pytest.mark.parametrize("workers", [1, 2])
def test_another_signal_ends_the_time_for_leaving(tmp_path, settings, workers):
    settings = settings | FOR_LONG | {"workers": workers}
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        server.process.terminate()
        wait_until(lambda: status_of(f"{address}/health/ready") == 503, "it is not ready")

        def ends():
            server.process.terminate()
            return server.process.poll() is not None

        wait_until(ends, "it ends")
        assert server.process.returncode == 0
    server.assert_calm()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_no_time(tmp_path, settings, workers):
    settings = settings | FOR_LONG | {"workers": workers}
    with running("server", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()
        server.stop(signal.SIGINT)
    server.assert_calm()


def test_a_signal_that_comes_twice_at_a_time_is_one(tmp_path, settings):
    """As when a service manager tells all processes, and the parent tells its children too."""
    settings = settings | FOR_LONG | {"workers": 2}
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        server.wait_for(lambda: server.output.count('"listening"') == 2, "both listen")
        os.killpg(server.process.pid, signal.SIGTERM)
        server.wait_for(lambda: server.output.count('"stopping"') == 3, "all were told")
        assert status_of(f"{address}/health/ready") == 503
        server.stop(signal.SIGINT)
    server.assert_calm()
