"""A small HTTP client for asyncio that keeps its connection, and tells when it was lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


class LostError(Exception):
    """The connection ended before the answer: nobody knows whether the request was executed."""


class RefusedError(Exception):
    """Nobody listens: the request was not even sent."""


class KeepAlive:
    """One connection to a server, made anew when it was lost."""

    def __init__(self) -> None:
        self._address = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def call(
        self, address: str, method: str, path: str, body: object, worker: str = ""
    ) -> tuple[int, Any]:
        """The status and what the JSON of the answer says.

        Raises:
            RefusedError: it was not sent.
            LostError: it was sent, and not answered.
        """
        await self._connect(address)
        text = json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: t\r\n"
            f"X-TASQUES-WORKER-ID: {worker}\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        try:
            return await self._exchange(head.encode() + text)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.abort()
            raise LostError from error
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Go away at once, whatever is under way."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _connect(self, address: str) -> None:
        if self._writer is not None and address == self._address:
            return
        self.abort()
        there = urlsplit(address)
        try:
            self._reader, self._writer = await asyncio.open_connection(there.hostname, there.port)
        except OSError as error:
            raise RefusedError from error
        self._address = address

    async def _exchange(self, request: bytes) -> tuple[int, Any]:
        assert self._writer is not None
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = await self._reader.readexactly(length)
        if b"\r\nconnection: close\r\n" in head:
            self.abort()
        return int(head.split()[1]), json.loads(body) if body else None
