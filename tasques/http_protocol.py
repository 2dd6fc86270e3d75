"""Uvicorn's HTTP, with an answer's head and body in one packet.

Uvicorn writes the head at once, and the body when it comes, which is a moment later. The second
write costs the server as much as parsing the request, and wakes the client twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OnePacketProtocol(HttpToolsProtocol):
    """Holds a head back until the body comes, but not beyond this turn of the event loop."""

    def connection_made(  # type: ignore[override]  # as in the base class
        self, transport: asyncio.Transport
    ) -> None:
        """Take a connection."""
        super().connection_made(_HeadHolder(transport))


class _HeadHolder(asyncio.Transport):
    """The part of a transport that uvicorn uses."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send the held head and this, or hold it if it is a head itself."""
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif isinstance(data, bytes) and data.startswith(b"HTTP/"):
            self._head = data
            asyncio.get_running_loop().call_soon(self._send_head)
        else:
            self._transport.write(data)

    def _send_head(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():  # the client may have gone
            self._transport.write(head)

    def close(self) -> None:
        """Close when everything is sent."""
        self._send_head()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Take nothing from the client for a while."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take something again."""
        self._transport.resume_reading()
