"""The end of a server that is in use."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from http_calls import Caller
from processes import run, running, wait_until

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
