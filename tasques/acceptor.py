"""New connections for several processes on one port, spread evenly.

Whoever is woken first would take all connections that wait, and a client keeps its connection: in
the end one process would do most of the work. So each takes one at a time, and one that has more
than another gives that one a moment to be faster. If it is not, it is busy or dead, and the
connection does not have to wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import socket
from collections.abc import Callable, Sized
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

_HEAD_START: Final = 0.002  # seconds that others get, a few times what an idle process needs
_PAUSE: Final = 1.0  # seconds without the means to take connections
_BYTES: Final = 4
_TOLERANCE: Final = 8  # one in so many may be more than an even share


class ConnectionCounts:
    """How many connections each of a number of processes has. To be made before they fork."""

    def __init__(self, processes: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, processes * _BYTES)).cast("I")

    def set(self, number: int, connections: int) -> None:
        """Let the others know how many process `number` has."""
        self._counts[number] = connections

    def is_ahead(self, number: int) -> bool:
        """Whether process `number` has more than an even share."""
        fewest = min(self._counts)
        return self._counts[number] > fewest + fewest // _TOLERANCE


class SharedPort(NamedTuple):
    """A port as one process sees it.

    Attributes:
        listener: a socket that listens, the same for all processes.
        counts: how many connections each has.
        number: of this process in `counts`.
    """

    listener: socket.socket
    counts: ConnectionCounts
    number: int


class Acceptor:
    """Takes connections for one process. Has those methods of a server that uvicorn needs."""

    def __init__(
        self,
        port: SharedPort,
        create_protocol: Callable[[], asyncio.Protocol],
        connections: Sized,
    ) -> None:
        """Begin to take connections, beside those that there are: `connections`."""
        self._loop = asyncio.get_running_loop()
        self._listener, self._counts, self._number = port
        self._create_protocol = create_protocol
        self._connections = connections
        self._opening: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._listener.setblocking(False)  # noqa: FBT003 - there is no other way
        self._listen()

    def close(self) -> None:
        """Take no more connections; the port is closed, as far as this process is concerned."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    async def wait_closed(self) -> None:
        """Wait for connections that were taken, but are not yet open."""
        if self._opening:
            await asyncio.wait(self._opening)

    @property
    def _is_closed(self) -> bool:
        return self._listener.fileno() < 0

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._look)

    def _look(self) -> None:
        self._count()
        if self._counts.is_ahead(self._number):
            self._pause(_HEAD_START, self._accept)
        else:
            self._accept()

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, then)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            self._listen()  # another one took it, or the client went
            return
        except OSError as error:
            log.error("no connection can be taken", extra={"reason": str(error)})  # noqa: TRY400
            self._pause(_PAUSE, self._listen)
            return
        connection.setblocking(False)  # noqa: FBT003 - there is no other way
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        self._count()
        self._listen()

    async def _open(self, connection: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                self._create_protocol, connection
            )
            if self._is_closed:  # nobody else would close it
                transport.close()
        except OSError as error:
            connection.close()
            log.debug("a connection could not be opened", extra={"reason": str(error)})

    def _count(self) -> None:
        self._counts.set(self._number, len(self._connections) + len(self._opening))
