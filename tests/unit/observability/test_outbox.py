from __future__ import annotations

import asyncio
import logging

import pytest

from tasques.observability.outbox import Outbox

EVENT = b"x" * 1000


@pytest.fixture
def blocks():
    return []


def fill(box, size):
    for _ in range(size // len(EVENT)):
        box.add(EVENT)


async def test_events_go_together_once_there_are_many_or_some_time_has_passed():
    blocks = asyncio.Queue()
    box = Outbox(blocks.put_nowait)

    fill(box, 1_600_000)
    assert blocks.qsize() == 3
    for _ in range(3):
        assert len(blocks.get_nowait().take()) == 525_524  # with line breaks
    box.add(b"last")

    async with asyncio.timeout(60):
        assert (await blocks.get()).take().endswith("\nlast")


def test_without_an_event_loop_nothing_waits(blocks):
    Outbox(blocks.append).add(b"a")

    assert [block.take() for block in blocks] == ["a"]


async def test_what_a_hanging_server_does_not_take_is_dropped_and_told_once(blocks, caplog):
    caplog.set_level(logging.WARNING)
    box = Outbox(blocks.append)

    fill(box, 20_000_000)

    assert 8 * 1024 * 1024 < sum(len(block.take()) for block in blocks) < 9 * 1024 * 1024
    assert len(caplog.records) == 1
    before = len(blocks)
    fill(box, 1_000_000)
    assert len(blocks) > before, "it has taken all, so there is room again"
