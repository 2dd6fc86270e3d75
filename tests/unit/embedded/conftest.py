"""A repository on loopback, and listeners that remember."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Repository(ThreadingHTTPServer):
    """Serves `content` at every path, honouring ranges.

    `plan` holds what to do instead, for the next requests in their order: a number is a status,
    "cut" breaks off half-way, "whole" ignores the range, "else" sends other bytes, "shifted"
    sends another range than the asked one, "endless" announces more than any disk has.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.plan = []
        self.ranges = []
        self.paths = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self):
        server = self.server
        server.gate.wait(30)
        asked = self.headers["Range"]
        server.ranges.append(asked)
        server.paths.append(self.path)
        act = server.plan.pop(0) if server.plan else "serve"
        content = server.content[::-1] if act == "else" else server.content
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and act != "whole" else 0
        if isinstance(act, int):
            self.answer(act, b"")
        elif start >= len(content):
            self.answer(416, b"")
        elif act == "shifted":
            self.answer(206, content[start:], ("Content-Range", f"bytes {start + 1}-9/10"))
        elif start:
            end = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], ("Content-Range", end), cut=act == "cut")
        else:
            length = 1 << 60 if act == "endless" else len(content)
            self.answer(200, content, cut=act == "cut", length=length)

    def answer(self, status, body, *headers, cut=False, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def repository(monkeypatch):
    """A repository that serves a million bytes; set `content` for others."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Repository(bytes(range(250)) * 4000) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.phases = []
        self.steps = []
        self.closed = 0

    def phase(self, text):
        self.phases.append(text)

    def advance(self, done, total):
        self.steps.append((done, total))

    def close(self):
        self.closed += 1


@pytest.fixture
def progress():
    return Recorder()
