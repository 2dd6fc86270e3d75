from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasques.healthcheck import UnhealthyError, require_ready, where_to_ask
from tasques.settings import BindAddress

LOOPBACK = "127.0.0.1"


class IPv6Server(HTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def answering(status, body, make=HTTPServer, host=LOOPBACK):
    """A server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with make((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield BindAddress(host, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("listening", "asked"),
    [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("[0:0::0]:8080", "[::1]:8080"),
        ("localhost:9090", "localhost:9090"),
        ("10.1.2.3:8080", "10.1.2.3:8080"),
        ("[fd00::7]:8080", "[fd00::7]:8080"),
    ],
)
def test_a_server_is_asked_where_it_listens(listening, asked):
    """All addresses of a machine include loopback; any other is the only one."""
    assert str(where_to_ask(BindAddress.parse(listening))) == asked


def test_a_port_that_the_system_chooses_is_not_known():
    """A mistake in the settings of an image is said, and not taken for a dead server."""
    with pytest.raises(UnhealthyError, match="leave the port to the system"):
        where_to_ask(BindAddress("127.0.0.1", 0))


def test_a_ready_server_passes(monkeypatch):
    """Whatever proxy the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(200, b'{"status": "ready"}') as address:
        require_ready(address)


def test_a_ready_server_passes_on_ipv6():
    with answering(200, b"{}", IPv6Server, "::1") as address:
        require_ready(address)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (json.dumps({"message": "No\nindex."}).encode(), r"\(503\): No index\.$"),
        (b"<html>", "does not say why"),
        (b"[]", "does not say why"),
        (b"{}", "does not say why"),
        (b"\xff", "does not say why"),
    ],
)
def test_a_server_that_is_not_ready_is_quoted_in_one_line(body, reason):
    with answering(503, body) as address, pytest.raises(UnhealthyError, match=reason):
        require_ready(address)


def test_silence_ends_by_itself():
    """A frozen process still has connections accepted by the system."""
    with closing(socket.create_server((LOOPBACK, 0))) as silent:
        address = BindAddress(*silent.getsockname())
        with pytest.raises(UnhealthyError, match=r"does not answer within 0\.1 s"):
            require_ready(address, timeout=0.1)


def test_nobody_is_not_healthy():
    with closing(socket.create_server((LOOPBACK, 0))) as gone:
        address = BindAddress(*gone.getsockname())
    with pytest.raises(UnhealthyError, match="refused"):
        require_ready(address)


def test_what_is_no_http_is_not_healthy():
    def talk(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        thread = threading.Thread(target=talk, args=[listener])
        thread.start()
        with pytest.raises(UnhealthyError, match="does not answer"):
            require_ready(BindAddress(*listener.getsockname()))
        thread.join()


def test_a_check_does_not_load_the_server(tmp_path):
    """It runs every few seconds, and the server's libraries take most of a second of CPU."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sorted(sys.modules)))\n"
        "from tasques.__main__ import main\n"
        "sys.argv = ['tasques', 'healthcheck', '--config', 'none.yaml']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    loaded = set(done.stdout.split())
    assert "tasques.settings" in loaded
    assert not loaded & {"fastapi", "elasticsearch", "uvicorn", "tasques.bootstrap"}
