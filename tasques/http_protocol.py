"""Uvicorn's HTTP: an answer is one packet, offers of upgrades are not heard, leaving is announced.

Uvicorn writes the head at once, and the body when it comes, which is a moment later. The second
write costs the server as much as parsing the request, and wakes the client twice.

Clients that would rather speak HTTP/2 (Java's, unless told otherwise) offer it with their first
request. Such an offer may be ignored, but the parser takes it as accepted: what follows the head
would no longer be HTTP, and the body is lost.

A connection that a client keeps would break at the end of the server, perhaps just when another
request is sent. So a server that is about to leave says `Connection: close` with each answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OnePacketProtocol(HttpToolsProtocol):
    """Holds a head back until the body comes, but not beyond this turn of the event loop."""

    def __init__(
        self, *arguments: Any, is_leaving: Callable[[], bool] = lambda: False, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.parser = _Parser(self)
        self._is_leaving = is_leaving

    def leave(self) -> None:
        """Let the answer that is under way be the last one on this connection."""
        # Before the first request there is none, whatever its type says.
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.cycle.keep_alive = False

    def connection_made(  # type: ignore[override]  # as in the base class
        self, transport: asyncio.Transport
    ) -> None:
        """Take a connection."""
        super().connection_made(_HeadHolder(transport))

    def on_headers_complete(self) -> None:
        """Begin with the request, unless its head is read once more."""
        if not self._is_offered_an_upgrade():
            super().on_headers_complete()
            if self._is_leaving():
                self.leave()

    def on_message_complete(self) -> None:
        """End the body, unless it was not read yet."""
        if not self._is_offered_an_upgrade():
            super().on_message_complete()

    def decline_upgrade(self, rest: bytes) -> bytes | None:
        """Begin anew with a parser that does not hear of the offer.

        Args:
            rest: what came after the head.

        Returns:
            What it is to be fed; None if nothing was offered.
        """
        if not self._is_offered_an_upgrade():
            return None
        version = self.parser.get_http_version().encode()
        first = self.parser.get_method() + b" " + self.url + b" HTTP/" + version
        others = [b": ".join(header) for header in self.headers if header[0] != b"upgrade"]
        self.parser = _Parser(self)
        return b"\r\n".join((first, *others, b"", rest))

    def _is_offered_an_upgrade(self) -> bool:
        # CONNECT is an upgrade for the parser, too, and has no such header.
        return self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)


class _Parser(HttpRequestParser):
    def __init__(self, protocol: OnePacketProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's

    def feed_data(self, data: Any) -> None:
        parser: HttpRequestParser = self
        while True:
            try:
                HttpRequestParser.feed_data(parser, data)
            except HttpParserUpgrade as upgrade:
                again = self._protocol.decline_upgrade(data[upgrade.args[0] :])
                if again is None:
                    raise
                data, parser = again, self._protocol.parser
            else:
                return


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
