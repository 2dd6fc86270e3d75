"""A Kibana for tests, over HTTP: takes saved objects, and is as strict about them as the real one.

What it asks for, and what it answers, is after Kibana's own source and documentation.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

_NEWEST = {"index-pattern": (8, 0, 0), "search": (10, 5, 0), "dashboard": (10, 3, 0)}
_CHECKED = ("index-pattern", "search")
_STARTING = "Kibana server is not ready yet"

Answer = tuple[int, dict[str, Any] | str]
Key = tuple[str, str]


@dataclass(kw_only=True)
class FakeKibana:
    """What is there, what came, and what it is to do.

    Attributes:
        version: told to whoever asks.
        authorization: the header that is let in; None lets everybody in.
        may_import: whether the user has the privilege.
        starting: requests that still find it starting.
        broken: what is wrong with objects, by type and id.
        spaces: what was imported into each, by type and id.
        overwritten: how often an object was there already.
        requests: method and path of each, in their order.
        on_import: called before an import.
    """

    version: str = "8.19.9"
    authorization: str | None = None
    may_import: bool = True
    starting: int = 0
    broken: dict[Key, dict[str, Any]] = field(default_factory=dict)
    spaces: dict[str, dict[Key, Any]] = field(default_factory=lambda: {"default": {}})
    overwritten: int = 0
    requests: list[str] = field(default_factory=list)
    on_import: Callable[[], None] = lambda: None
    url: str = ""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """What it says to a request."""
        url = urlsplit(target)
        self.requests.append(f"{method} {target}")
        if self.starting:
            self.starting -= 1
            return 503, _STARTING
        known = self.authorization in (None, headers.get("Authorization"))
        if (method, url.path) == ("GET", "/api/status"):
            status = {"status": {"overall": {"level": "available"}}}
            return 200, status | ({"version": {"number": self.version}} if known else {})
        if not known:
            return 401, problem(401, "Unauthorized", "[security_exception]: unable to authenticate")
        space, path = _space_of(url.path)
        if space not in self.spaces or (method, path) != ("POST", "/api/saved_objects/_import"):
            return 404, problem(404, "Not Found", "Not Found")
        self.on_import()
        if "kbn-xsrf" not in headers:
            return 400, problem(400, "Bad Request", "Request must contain a kbn-xsrf header.")
        return self._import(space, parse_qs(url.query), headers, body)

    def _import(self, space: str, query: Any, headers: Any, body: bytes) -> Answer:
        kind = headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return 415, problem(415, "Unsupported Media Type", "Unsupported Media Type")
        name, file_name, content = _only_part(kind, body)
        if name != "file" or not file_name.endswith(".ndjson"):
            return 400, problem(400, "Bad Request", f"Invalid file extension {file_name}")
        if not self.may_import:
            return 403, problem(403, "Forbidden", "Unable to bulk_create dashboard,index-pattern")
        objects = {
            (each["type"], each["id"]): each for each in map(json.loads, content.splitlines())
        }
        if len(objects) < len(content.splitlines()):
            return 400, problem(400, "Bad Request", "Non-unique import objects detected")
        for key, each in objects.items():
            if tuple(map(int, each["typeMigrationVersion"].split("."))) > _NEWEST[key[0]]:
                return 422, problem(422, "Unprocessable", f"{key[1]} is of a more recent version")
        return 200, self._write(objects, self.spaces[space], query)

    def _write(self, objects: Any, stored: Any, query: Any) -> dict[str, Any]:
        errors = [*_missing(objects, stored), *self._conflicts(objects, stored, query)]
        errors += [_error(key, why) for key, why in self.broken.items() if key in objects]
        written = {} if errors else objects
        self.overwritten += len(written.keys() & stored.keys())
        stored |= written
        counted = {"success": not errors, "successCount": len(objects) - len(errors)}
        return counted | ({"errors": errors} if errors else {})

    def _conflicts(self, objects: Any, stored: Any, query: Any) -> list[dict[str, Any]]:
        if query.get("overwrite") == ["true"]:
            return []
        return [_error(key, {"type": "conflict"}) for key in objects if key in stored]


def problem(status: int, error: str, message: str) -> dict[str, Any]:
    """An error as Kibana describes it."""
    return {"statusCode": status, "error": error, "message": message}


def _space_of(path: str) -> tuple[str, str]:
    parts = path.split("/", 3)
    return (parts[2], f"/{parts[3]}") if parts[1] == "s" else ("default", path)


def _only_part(kind: str, body: bytes) -> tuple[str, str, bytes]:
    parsed = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    (part,) = parsed.iter_parts()
    name = part.get_param("name", header="content-disposition")
    return str(name), str(part.get_filename()), part.get_payload(decode=True)


def _missing(objects: Any, stored: Any) -> Iterator[dict[str, Any]]:
    for key, each in objects.items():
        named = [(reference["type"], reference["id"]) for reference in each["references"]]
        gone = [
            {"type": kind, "id": name}
            for kind, name in named
            if kind in _CHECKED and (kind, name) not in {*objects, *stored}
        ]
        if gone:
            yield _error(key, {"type": "missing_references", "references": gone})


def _error(key: Key, why: dict[str, Any]) -> dict[str, Any]:
    return {"type": key[0], "id": key[1], "meta": {}, "error": why}


@contextmanager
def serving(kibana: FakeKibana, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Any:
    """Run it on a port of this machine for the time of a block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        lock: ClassVar = threading.Lock()

        def do_GET(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["Content-Length"])))

        def _reply(self, body: bytes) -> None:
            with self.lock:
                status, answer = kibana.answer(self.command, self.path, self.headers, body)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.handle_error = lambda *_: None  # a client that does not trust us hangs up
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        kibana.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield kibana
        finally:
            server.shutdown()
            thread.join()
