"""Calls of the API as small clients make them."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

PATIENCE = 60.0  # seconds; what is slow here is the machine
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Caller:
    """Calls one server, each time on a connection of its own."""

    def __init__(self, address: str, worker: str = "worker") -> None:
        self.address = address
        self.worker = worker

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and what the JSON of the answer says."""
        there = urlsplit(self.address)
        connection = HTTPConnection(there.hostname or "", there.port, timeout=PATIENCE)
        try:
            text = body if isinstance(body, str) else json.dumps(body) if body is not None else None
            worker = {"X-TASQUES-WORKER-ID": self.worker}
            connection.request(method, path, text, worker | (headers or {}))
            return _read(connection.getresponse())
        finally:
            connection.close()

    def create(self, **members: object) -> dict[str, Any]:
        """Enqueue a task."""
        return self._good(201, "POST", "/tasques", {"kind": "k"} | members)

    def claim(self, queue: str, block_for: str = "20s") -> list[dict[str, Any]]:
        """Wait for a task of a queue."""
        body = {"queues": [queue], "block_for": block_for}
        claimed: list[dict[str, Any]] = self._good(200, "POST", "/tasques/claims", body)
        return claimed

    def get(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task as it is now."""
        return self._good(200, "GET", f"/tasques/{_place(task)}")

    def unclaim(self, task: dict[str, Any]) -> dict[str, Any]:
        """Give a task back."""
        return self._good(200, "DELETE", f"/tasques/claims/{_place(task)}")

    def tell(self, what: str, task: dict[str, Any], data: object = None) -> dict[str, Any]:
        """Say of a claimed task what there is to say: `reports`, `done` or `failed`."""
        return self._good(200, "PUT", f"/tasques/{what}/{_place(task)}", {"data": data})

    def _good(self, expected: int, method: str, path: str, body: object = None) -> Any:
        status, answer = self.call(method, path, body)
        assert status == expected, f"{method} {path}: {status} {answer}"
        return answer

    # -------------------------------------------------------------- requests that wait

    @contextmanager
    def posted(self, path: str, body: object) -> Iterator[Posted]:
        """A request that was sent, to be answered later."""
        request = Posted(self, path, body)
        try:
            yield request
        finally:
            request.close()

    @contextmanager
    def parked(self, queue: str, count: int, block_for: str = "20s") -> Iterator[list[Posted]]:
        """So many claims that wait for tasks of a queue, each on a connection of its own."""
        body = {"queues": [queue], "block_for": block_for}
        with ExitStack() as stack:
            posted = [
                stack.enter_context(self.posted("/tasques/claims", body)) for _ in range(count)
            ]
            self._serve_a_later_claim(queue)
            yield posted

    def _serve_a_later_claim(self, queue: str) -> None:
        """A claim that came later and was served tells that the others were read."""
        later = f"{queue}-later"
        self.create(queue=later)
        (task,) = self.claim(later)
        self.tell("done", task)


class Posted:
    """A request that was sent and whose answer was not read yet."""

    def __init__(self, caller: Caller, path: str, body: object) -> None:
        there = urlsplit(caller.address)
        self.connection = HTTPConnection(there.hostname or "", there.port, timeout=PATIENCE)
        headers = {"X-TASQUES-WORKER-ID": caller.worker}
        self.connection.request("POST", path, json.dumps(body), headers)

    def answer(self) -> tuple[int, Any]:
        """Wait for the answer."""
        return _read(self.connection.getresponse())

    def close(self) -> None:
        """Go away in order."""
        self.connection.close()

    def reset(self) -> None:
        """Go away as a crash of the network does."""
        if isinstance(self.connection.sock, socket.socket):
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.connection.close()


def _read(response: HTTPResponse) -> tuple[int, Any]:
    text = response.read()
    return response.status, json.loads(text) if text else None


def _place(task: dict[str, Any]) -> str:
    return "/".join(quote(task[name], safe="") for name in ("queue", "id"))
