"""A proxy before Elasticsearch that fails in ways that a test chooses, at run time.

It understands as much of HTTP as needed: bodies with a length, one request after the other on
a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self, TypeAlias
from urllib.parse import urlsplit

import orjson


@dataclass(slots=True)
class Request:
    """A request on its way."""

    head: bytes
    body: bytes
    _send: Callable[[bytes], Awaitable[Response]]

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].partition(b"?")[0].decode()

    @property
    def is_bulk(self) -> bool:
        return self.path.endswith("/_bulk")

    async def forward(self, body: bytes | None = None) -> Response:
        """Have it executed, with another body if one is given."""
        body = self.body if body is None else body
        return await self._send(_with_length(self.head, len(body)) + body)


@dataclass(slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes


Fault: TypeAlias = Callable[[Request], Awaitable[Response | None]]
"""What answers a request; None breaks off the connection."""


class Proxy:
    """Forwards to `target` whatever `fault` leaves alone.

    Attributes:
        fault: answers requests instead, if set.
        requests: what was asked, in order.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = address.hostname or "", address.port or 9200
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.fault: Fault | None = None
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.refuse_connections()

    async def open(self) -> None:
        """Take connections, at the old port if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse_connections(self) -> None:
        """Break off every connection, and take no more until `open`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._connection() as forward:
                while (message := await _read(reader)) is not None:
                    if (response := await self._answer(*message, forward)) is None:
                        break
                    writer.write(_bytes_of(response))
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # that is what it is for
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(
        self, head: bytes, body: bytes, forward: Callable[[bytes], Awaitable[Response]]
    ) -> Response | None:
        request = Request(head, body, forward)
        self.requests.append(request)
        return await (self.fault(request) if self.fault is not None else request.forward())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Callable[[bytes], Awaitable[Response]]]:
        reader, writer = await asyncio.open_connection(*self._target)

        async def forward(message: bytes) -> Response:
            writer.write(message)
            if (answer := await _read(reader)) is None:
                raise ConnectionResetError
            head, body = answer
            return Response(int(head.split()[1]), body)

        try:
            yield forward
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Head and body of a request or an answer, or None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head, await reader.readexactly(int(line.partition(b":")[2]))
        if line.startswith(b"transfer-encoding:"):
            return head, b"".join([chunk async for chunk in _chunks(reader)])
    return head, b""


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int(await reader.readline(), 16):
        yield await reader.readexactly(length)
        await reader.readline()
    await reader.readline()


def _with_length(head: bytes, length: int) -> bytes:
    lines = [
        b"content-length: %d" % length if line.lower().startswith(b"content-length:") else line
        for line in head.split(b"\r\n")
    ]
    return b"\r\n".join(lines)


def _bytes_of(response: Response) -> bytes:
    head = (
        b"HTTP/1.1 %d Status\r\n"
        b"X-Elastic-Product: Elasticsearch\r\n"
        b"Content-Type: application/vnd.elasticsearch+json;compatible-with=8\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    return head % (response.status, len(response.body)) + response.body


# ------------------------------------------------------------------------------ faults


def only(is_meant: Callable[[Request], bool], fault: Fault, times: int | None = None) -> Fault:
    """Let a fault happen to some requests, and so many times at most."""
    left = times

    async def choose(request: Request) -> Response | None:
        nonlocal left
        if not is_meant(request) or left == 0:
            return await request.forward()
        if left is not None:
            left -= 1
        return await fault(request)

    return choose


def bulks(fault: Fault, times: int | None = None) -> Fault:
    """Let a fault happen to `_bulk` requests."""
    return only(lambda request: request.is_bulk, fault, times)


async def drop_answer(request: Request) -> None:
    """Have the request executed, and lose the answer."""
    await request.forward()


async def drop_request(request: Request) -> None:
    """Break off before the request is executed."""


def delay_answer(seconds: float) -> Fault:
    """Have the request executed, and answer late."""

    async def fault(request: Request) -> Response:
        response = await request.forward()
        await asyncio.sleep(seconds)
        return response

    return fault


def delay_request(seconds: float) -> Fault:
    """Have the request executed late, whether or not anybody still waits for it."""

    async def fault(request: Request) -> Response:
        await asyncio.sleep(seconds)
        return await request.forward()

    return fault


def answer(status: int, error_type: str = "es_rejected_execution_exception") -> Fault:
    """Answer oneself, and have nothing executed."""

    async def fault(request: Request) -> Response:
        return Response(status, orjson.dumps(_refusal(status, error_type)))

    return fault


def reject_items(is_rejected: Callable[[int], bool], status: int = 429) -> Fault:
    """Take some items out of a `_bulk`, by their number, and answer that they were rejected."""

    async def fault(request: Request) -> Response:
        lines = request.body.splitlines(keepends=True)
        operations = [b"".join(lines[at : at + 2]) for at in range(0, len(lines), 2)]
        numbers = range(len(operations))
        taken = [operations[number] for number in numbers if not is_rejected(number)]
        items = iter([])
        if taken:
            answered = orjson.loads((await request.forward(b"".join(taken))).body)
            items = iter(answered["items"])
        rejected = {"create": {"_index": "x", **_refusal(status, "es_rejected_execution")}}
        body = {
            "errors": True,
            "items": [rejected if is_rejected(number) else next(items) for number in numbers],
        }
        return Response(200, orjson.dumps(body))

    return fault


def _refusal(status: int, error_type: str) -> dict[str, object]:
    return {"error": {"type": error_type, "reason": "the proxy says so"}, "status": status}
