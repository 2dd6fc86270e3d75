"""Real connections; what would be processes are acceptors that share a socket."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from tasques import acceptor as module
from tasques.acceptor import Acceptor, ConnectionCounts, SharedPort

EVEN = 0.35  # of two; on a busy machine one may be late


async def until(condition):
    while not condition():  # noqa: ASYNC110 - it is the transports that are waited for
        await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One that greets, and is among the connections of its process while it is open."""

    def __init__(self, connections):
        self.connections = connections

    def connection_made(self, transport):
        self.connections.add(self)
        self.transport = transport
        transport.write(b"hello")

    def connection_lost(self, _):
        self.connections.discard(self)


class Processes:
    """A number of them on one port."""

    def __init__(self, listener, number):
        self.counts = ConnectionCounts(number)
        self.connections = [set() for _ in range(number)]
        self.acceptors = {}
        self._listener = listener
        self._clients = []

    def start(self, number, listener=None):
        """Let one take connections."""
        connections = self.connections[number]
        self.acceptors[number] = Acceptor(
            SharedPort(listener or self._listener.dup(), self.counts, number),
            lambda: Connection(connections),
            connections,
        )

    async def connect(self):
        """Open a connection, and wait until somebody has taken it."""
        reader, writer = await asyncio.open_connection(*self._listener.getsockname())
        self._clients.append(writer)
        assert await reader.readexactly(5) == b"hello"
        return writer

    @property
    def shares(self):
        return [len(each) for each in self.connections]

    async def close(self):
        for acceptor in self.acceptors.values():
            acceptor.close()
            await acceptor.wait_closed()
        for client in self._clients:
            client.close()
            await client.wait_closed()
        await until(lambda: not any(self.shares))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def processes(listener):
    processes = Processes(listener, 2)
    yield processes
    await processes.close()


async def test_connections_are_spread_evenly(processes):
    processes.start(0)
    processes.start(1)

    for _ in range(40):
        await processes.connect()

    assert min(processes.shares) >= EVEN * 40


async def test_connections_that_come_at_once_are_spread_too(processes):
    processes.start(0)
    processes.start(1)

    await asyncio.gather(*(processes.connect() for _ in range(40)))

    assert min(processes.shares) >= EVEN * 40


async def test_who_lost_its_connections_gets_the_next_ones(processes):
    processes.start(0)
    processes.start(1)
    for _ in range(40):
        await processes.connect()
    for connection in list(processes.connections[0]):
        connection.transport.close()
    await until(lambda: not processes.shares[0])

    for _ in range(20):
        await processes.connect()

    assert processes.shares[0] >= 2 * EVEN * 20


async def test_no_connection_waits_for_one_that_takes_none(processes):
    processes.start(0)

    for _ in range(5):
        await processes.connect()

    assert processes.shares == [5, 0]


async def test_who_closes_takes_no_more_and_keeps_what_it_has(processes):
    processes.start(0)
    processes.start(1)
    for _ in range(10):
        await processes.connect()
    kept = processes.shares[0]

    processes.acceptors.pop(0).close()
    for _ in range(10):
        await processes.connect()

    assert processes.shares == [kept, 20 - kept]


async def test_a_connection_that_is_taken_at_the_last_moment_is_closed(processes, listener):
    processes.start(0)
    with socket.create_connection(listener.getsockname()) as client:
        await until(lambda: processes.counts.is_ahead(0))  # it is counted when it is taken
        acceptor = processes.acceptors.pop(0)
        acceptor.close()
        await acceptor.wait_closed()
        await until(lambda: not processes.shares[0])
        assert client.recv(100) in {b"hello", b""}


async def test_a_port_that_all_have_closed_is_closed(processes, listener):
    processes.start(0)
    address = listener.getsockname()
    listener.close()

    processes.acceptors.pop(0).close()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


class Refusing(socket.socket):
    """Takes no connection at first, for these reasons."""

    reasons = ()

    def accept(self):
        if self.reasons:
            reason, *self.reasons = self.reasons
            raise OSError(reason, "refused")
        return super().accept()


@pytest.mark.parametrize(
    ("reason", "is_told"), [(errno.ECONNABORTED, False), (errno.EMFILE, True), (errno.ENOMEM, True)]
)
async def test_what_goes_wrong_once_is_tried_again(
    processes, listener, monkeypatch, caplog, reason, is_told
):
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    refusing = Refusing(fileno=listener.dup().detach())
    refusing.reasons = (reason, reason)
    processes.start(0, refusing)

    await processes.connect()

    assert processes.shares == [1, 0]
    assert ("no connection can be taken" in caplog.text) is is_told


@pytest.mark.parametrize(
    ("counts", "is_ahead"),
    [((0, 0), False), ((1, 0), True), ((8, 8), False), ((9, 8), False), ((10, 8), True)],
)
def test_few_more_among_many_do_not_matter(counts, is_ahead):
    shared = ConnectionCounts(2)
    for number, count in enumerate(counts):
        shared.set(number, count)

    assert shared.is_ahead(0) is is_ahead
