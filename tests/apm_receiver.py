"""An APM server for tests: takes the agent's events, and checks each by the intake rules."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_REQUIRED = {
    "transaction": ("id", "trace_id", "type", "duration", "span_count", "timestamp"),
    "span": ("id", "trace_id", "parent_id", "name", "type", "duration", "timestamp"),
    "error": ("id", "timestamp"),
}
_OUTCOMES = {"success", "failure", "unknown"}
_ID_LENGTHS = {"trace_id": 32, "parent_id": 16, "transaction_id": 16}


class ApmReceiver:
    """What was received, kind and event in the order of arrival, and the tokens sent with it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str | None] = set()
        self.raw = ""
        self.port = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for found, event in self.events if found == kind]

    def take(self, body: str) -> None:
        self.raw += body
        for line in body.splitlines():
            ((kind, event),) = json.loads(line).items()
            self.events.append((kind, event))

    def check(self) -> None:
        """Fail if an event breaks a rule of the intake API."""
        assert self.of("metadata")
        for kind, event in self.events:
            for member in _REQUIRED.get(kind, ()):
                assert event.get(member) is not None, (kind, member)
            for member, length in _ID_LENGTHS.items():
                if event.get(member) is not None:
                    assert re.fullmatch(f"[0-9a-f]{{{length}}}", event[member]), (member, event)
            for link in event.get("links", ()):
                assert re.fullmatch("[0-9a-f]{32} [0-9a-f]{16}", " ".join(link.values())), link
        spans = self.of("span")
        for span in spans:
            assert re.fullmatch("[0-9a-f]{16}", span["id"])
            assert 0 < len(span["name"]) <= 1024
            assert span["outcome"] in _OUTCOMES
            assert span["duration"] >= 0
            for value in span.get("context", {}).get("tags", {}).values():
                assert isinstance(value, str | int | float)
        for transaction in self.of("transaction"):
            assert re.fullmatch("[0-9a-f]{16}", transaction["id"])
            assert 0 < len(transaction["name"]) <= 1024
            assert transaction["outcome"] in _OUTCOMES
            assert 0 <= transaction.get("sample_rate", 1) <= 1
            own = [span for span in spans if span.get("transaction_id") == transaction["id"]]
            assert transaction["span_count"]["started"] == len(own), transaction["name"]
        known = {transaction["id"] for transaction in self.of("transaction")}
        for event in [*self.of("error"), *spans]:
            assert event.get("transaction_id") in {None, *known}
        self._check_parents()

    def _check_parents(self) -> None:
        """Whatever is inside of a transaction is in its trace, and leads to it."""
        made = {
            event["id"]: event for kind, event in self.events if kind in {"transaction", "span"}
        }
        for span in self.of("span"):
            if "transaction_id" in span:
                assert made[span["parent_id"]]["trace_id"] == span["trace_id"]
                above = span
                while "transaction_id" in above:
                    above = made[above["parent_id"]]
                assert above["id"] == span["transaction_id"]


@contextmanager
def receiving() -> Iterator[ApmReceiver]:
    """Run a receiver on a port of this machine."""
    received = ApmReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/intake/v2/events":
                received.tokens.add(self.headers.get("Authorization"))
                received.take(zlib.decompress(body, 31).decode())
            self._answer(202, b"")

        def do_GET(self) -> None:
            self._answer(200, b'{"version": "8.19.0"}' if self.path == "/" else b"{}")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
