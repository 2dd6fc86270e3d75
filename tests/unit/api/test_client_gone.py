"""Clients that leave while their claim waits, on real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct

import httpx
import pytest
from in_memory_api import build, serving

REST_NOW = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN
PATIENCE = 10.0


async def eventually(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(0.005)


async def claim_as_a_ghost(port):
    """Send a claim that waits, and keep the connection."""
    body = json.dumps({"queues": ["mail"], "block_for": "20s"})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /tasques/claims HTTP/1.1\r\nHost: t\r\nX-Tasques-Worker-Id: ghost\r\n"
        f"Accept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await writer.drain()
    return reader, writer


def close_with_fin(writer):
    writer.close()


def close_with_rst(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, REST_NOW)
    writer.transport.abort()


def close_one_way(writer):
    writer.write_eof()


@pytest.mark.parametrize("close", [close_with_fin, close_with_rst, close_one_way])
async def test_a_claim_ends_when_its_client_leaves(close, caplog):
    """The next worker gets the task at once, and its first attempt; nothing is logged but a line."""
    caplog.set_level(logging.INFO)
    api = build()
    async with serving(api) as port:
        _, writer = await claim_as_a_ghost(port)
        await eventually(lambda: api.broker.parked == 1)
        close(writer)
        await eventually(lambda: api.broker.parked == 0)

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await client.post("/tasques", json={"queue": "mail", "kind": "send"})
            claimed = await client.post(
                "/tasques/claims",
                json={"queues": ["mail"], "block_for": "5s"},
                headers={"X-TASQUES-WORKER-ID": "alive"},
            )
        writer.close()

    (task,) = claimed.json()
    assert task["attempted"] == 1
    assert task["last_claimed"]["worker_id"] == "alive"
    assert [record for record in caplog.records if record.exc_info] == []
    statuses = [
        vars(record)["http.response.status_code"]
        for record in caplog.records
        if record.name == "tasques.api.access"
    ]
    assert statuses == [499, 201, 200]


async def test_hundreds_of_ghosts_leave_nothing_behind():
    api = build()
    async with serving(api) as port:
        ghosts = [await claim_as_a_ghost(port) for _ in range(200)]
        await eventually(lambda: api.broker.parked == len(ghosts))
        for _, writer in ghosts:
            close_with_rst(writer)
        await eventually(lambda: api.broker.parked == 0)
    assert api.repository.stored == []


async def test_a_claim_that_was_written_for_a_client_that_left_is_undone():
    """The client leaves while the claim is being written, and the write takes place."""
    api = build()
    written = asyncio.Event()
    left = asyncio.Event()

    async def hold_the_first(task):
        if task.state == "claimed" and not written.is_set():
            written.set()
            await left.wait()

    api.repository.before_update = hold_the_first
    async with (
        serving(api) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await client.post("/tasques", json={"id": "t", "queue": "mail", "kind": "send"})
        _, writer = await claim_as_a_ghost(port)
        await written.wait()
        close_with_rst(writer)
        await eventually(lambda: api.broker.parked == 0)
        left.set()
        await eventually(
            lambda: (
                [(task.state, task.attempted) for task in api.repository.stored] == [("queued", 0)]
            )
        )


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_answered(caplog):
    caplog.set_level(logging.INFO)
    api = build()
    async with serving(api) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /tasques HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await eventually(lambda: len(caplog.records) > 0)

    (record,) = [record for record in caplog.records if record.name == "tasques.api.access"]
    assert vars(record)["http.response.status_code"] == 499
    assert [record for record in caplog.records if record.exc_info] == []
