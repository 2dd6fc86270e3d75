from __future__ import annotations

import asyncio

import pytest

from tasques.http_protocol import _HeadHolder

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """What goes over the network, a list item for each packet."""

    def __init__(self):
        super().__init__()
        self.packets = []
        self.closing = False

    def write(self, data):
        if self.closing:
            raise RuntimeError("closed")
        self.packets.append(bytes(data))

    def writelines(self, list_of_data):
        self.write(b"".join(list_of_data))

    def close(self):
        self.closing = True

    def is_closing(self):
        return self.closing


@pytest.fixture
def wire():
    return Wire()


async def test_a_head_goes_together_with_its_body(wire):
    transport = _HeadHolder(wire)

    transport.write(HEAD)
    transport.write(b"{}")
    transport.write(b"more")
    await asyncio.sleep(0)

    assert wire.packets == [HEAD + b"{}", b"more"]


async def test_a_head_without_a_body_goes_when_the_turn_is_over(wire):
    transport = _HeadHolder(wire)

    transport.write(HEAD)
    assert wire.packets == []
    await asyncio.sleep(0)

    assert wire.packets == [HEAD]


async def test_two_heads_in_one_turn_both_go(wire):
    transport = _HeadHolder(wire)

    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.write(b"{}")
    await asyncio.sleep(0)

    assert b"".join(wire.packets) == b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"{}"


async def test_closing_sends_what_is_held(wire):
    transport = _HeadHolder(wire)

    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)

    assert wire.packets == [HEAD]


async def test_nothing_is_sent_to_a_client_that_has_gone_meanwhile(wire):
    transport = _HeadHolder(wire)

    transport.write(HEAD)
    wire.closing = True
    await asyncio.sleep(0)

    assert wire.packets == []
