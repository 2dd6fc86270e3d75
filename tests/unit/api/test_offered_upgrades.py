from __future__ import annotations

import json
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from in_memory_api import serving_in_a_thread

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAI\r\n"
PATIENCE = 30.0  # seconds


@pytest.fixture(scope="module")
def server():
    with serving_in_a_thread() as url:
        yield url


def creation(task_id, headers=OFFER):
    body = json.dumps({"id": task_id, "queue": "q", "kind": "k"}).encode()
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /tasques HTTP/1.1\r\nHost: t\r\n" + headers + length + b"\r\n", body


def statuses(server, number, *packets):
    """Send packets one after the other, and read until so many answers have begun."""
    there = urlsplit(server)
    answer = b""
    with closing(socket.create_connection((there.hostname, there.port), PATIENCE)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            connection.sendall(packet)
        while answer.count(b"HTTP/1.1 ") < number and (more := connection.recv(65536)):
            answer += more
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_a_body_after_an_offer_of_http_2_is_read(server):
    """Java's client offers it with every first request."""
    head, body = creation("together")

    assert statuses(server, 1, head + body) == [201]


def test_such_a_request_may_come_in_any_pieces(server):
    head, body = creation("pieces")
    pieces = [bytes([byte]) for byte in head + body]

    assert statuses(server, 1, *pieces) == [201]


def test_requests_behind_it_are_answered_too(server):
    first, second, third = creation("first"), creation("second"), creation("third", headers=b"")

    sent = b"".join(b"".join(each) for each in (first, second, third))
    assert statuses(server, 3, sent) == [201, 201, 201]


def test_what_is_not_http_is_still_refused(server):
    head, body = creation("broken")

    assert statuses(server, 2, head + body + b"nonsense\r\n\r\n")[-1] == 400
    assert statuses(server, 1, b"CONNECT t:80 HTTP/1.1\r\nHost: t:80\r\n\r\n") == [400]
