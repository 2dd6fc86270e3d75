"""Servers whose APM server is dead, refuses, is slow, or hangs: nobody else notices."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from http_calls import Caller
from processes import run, running

pytestmark = pytest.mark.elasticsearch

TASKS = 20
STOPPED_AFTER = 30  # seconds, by far; the agent alone would wait for longer


@contextmanager
def nobody():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def hanging():
    """Takes connections, and never says anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield listener.getsockname()[1]


@contextmanager
def answering(status, seconds=0.0):
    """Answers everything with a status, after some time."""
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self):
            is_over.wait(seconds)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()


OUTAGES = {
    "dead": nobody,
    "hangs": hanging,
    "refuses": lambda: answering(503),
    "slow": lambda: answering(202, seconds=4.0),
}


@pytest.mark.parametrize(
    ("outage", "workers"), [*((outage, 1) for outage in OUTAGES), ("hangs", 2)]
)
def test_requests_are_served_and_the_server_stops(
    outage, workers, tmp_path, elasticsearch_url, prefix
):
    with OUTAGES[outage]() as port:
        settings = {
            "bind_address": "127.0.0.1:0",
            "workers": workers,
            "elasticsearch.addresses": elasticsearch_url,
            "elasticsearch.index_prefix": prefix,
            "elasticsearch.replicas": 0,
            "apm.address": f"http://127.0.0.1:{port}",
        }
        run("setup", folder=tmp_path, settings=settings)
        # So the agent does try to send while there are requests.
        often = {"ELASTIC_APM_API_REQUEST_TIME": "100ms"}
        with running("server", folder=tmp_path, settings=settings, environment=often) as server:
            caller = Caller(server.wait_until_ready())
            for _ in range(TASKS):
                caller.create(queue="q")
                (task,) = caller.claim("q")
                caller.tell("done", task)
            server.stop(patience=STOPPED_AFTER)

    server.assert_calm()
