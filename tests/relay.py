"""Passes on bytes, also encrypted ones, until it is told to break off."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Listens on a port of its own for what a URL names."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"{self._target.scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.break_off()

    async def break_off(self) -> None:
        """End all connections; new ones are passed on."""
        connections = list(self._open)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, there[1]))
                group.create_task(_copy(there[0], writer))
        except (asyncio.CancelledError, ExceptionGroup):
            pass  # that is what it is for
        finally:
            self._open.discard(task)
            for each in (writer, there[1]):
                each.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(65536):
        sink.write(part)
        await sink.drain()
    raise ConnectionAbortedError  # who ends one direction ends both
