"""Passes on bytes, also encrypted ones, as what is between two machines does."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit

from processes import status_of


class Relay:
    """Listens on a port of its own for what a URL names, until it is told to break off."""

    def __init__(self, target: str) -> None:
        self._scheme = urlsplit(target).scheme
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"{self._scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

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

    def choose(self) -> str:
        """Where the next connection goes."""
        return self._target

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        writers = [writer]
        try:
            there = urlsplit(self.choose())
            source, sink = await asyncio.open_connection(there.hostname, there.port)
            writers.append(sink)
            await asyncio.gather(_copy(reader, sink), _copy(source, writer))
        except (OSError, asyncio.CancelledError):
            for each in writers:
                each.transport.abort()
        finally:
            self._open.discard(task)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while part := await source.read(65536):
            sink.write(part)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()  # once all is sent; who ends one direction ends both


class Balancer(Relay):
    """As a Service of Kubernetes: each connection goes to one that was ready when last asked."""

    def __init__(self, interval: float) -> None:
        """Ask for readiness so often, in seconds."""
        super().__init__("http://")
        self._interval = interval
        self._ready: dict[str, bool] = {}
        self._turn = 0

    def add(self, address: str) -> None:
        """There is one more, which is ready."""
        self._ready[address] = True

    def remove(self, address: str) -> None:
        """There is one less."""
        del self._ready[address]

    def choose(self) -> str:
        """The next one that is ready."""
        ready = [address for address, is_ready in self._ready.items() if is_ready]
        self._turn += 1
        return ready[self._turn % len(ready)]

    async def __aenter__(self) -> Self:
        self._watch = asyncio.create_task(self._ask_again_and_again())
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await super().__aexit__(*error)

    async def _ask_again_and_again(self) -> None:
        while True:
            await self._ask_all()
            await asyncio.sleep(self._interval)

    async def _ask_all(self) -> None:
        for address in list(self._ready):
            status = await asyncio.to_thread(status_of, f"{address}/health/ready")
            if address in self._ready:
                self._ready[address] = status == 200
