from __future__ import annotations

import asyncio
import logging

import pytest
from fakes import FakeClock, settle
from scraped import samples, value

from tasques.background_tasks import BackgroundTasks
from tasques.domain.backlog import Backlog
from tasques.domain.errors import StoreUnavailableError
from tasques.observability.backlogs import BacklogFigures

MAIL = Backlog({"queued": 3, "claimed": 2}, due=4, oldest_due_for=7.5)


class Store:
    """Finds what it is told to, or fails."""

    def __init__(self):
        self.found = {"mail": MAIL, None: Backlog({"done": 1})}
        self.error = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self):
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.found


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def background():
    background = BackgroundTasks()
    yield background
    await background.drain(0)


@pytest.fixture
def figures(store, clock, background):
    return BacklogFigures(store.find, clock=clock, background=background, interval=10.0)


def shown(figures):
    return figures.render().decode()


async def test_what_was_found_is_shown_with_a_zero_for_every_other_state(figures):
    await figures.refresh()

    text = shown(figures)
    by_state = {
        state: value(text, "tasques_queue_depth", {"queue": "mail", "state": state})
        for state in ("scheduled", "queued", "claimed", "failed", "done", "dead")
    }
    assert by_state == {
        "scheduled": 0,
        "queued": 3,
        "claimed": 2,
        "failed": 0,
        "done": 0,
        "dead": 0,
    }
    assert value(text, "tasques_queue_backlog", {"queue": "mail"}) == 6
    assert value(text, "tasques_oldest_due_task_age_seconds", {"queue": "mail"}) == 7.5
    assert value(text, "tasques_queue_depth", {"queue": "other", "state": "done"}) == 1
    assert len(samples(text)) == 2 * (6 + 1 + 1)


async def test_nothing_is_shown_before_anything_was_found(figures):
    assert shown(figures) == ""


async def test_many_who_look_ask_once_in_an_interval(figures, store, clock):
    await asyncio.gather(*(figures.refresh() for _ in range(5)))
    await clock.advance(9.9)
    await figures.refresh()
    assert store.asked == 1

    store.found = {"mail": Backlog()}
    await clock.advance(0.1)
    await asyncio.gather(*(figures.refresh() for _ in range(5)))

    assert store.asked == 2
    assert value(shown(figures), "tasques_queue_backlog", {"queue": "mail"}) == 0


async def test_nobody_waits_long_for_a_slow_answer_and_it_is_shown_when_it_comes(
    store, clock, background
):
    figures = BacklogFigures(
        store.find, clock=clock, background=background, interval=10.0, patience=0.01
    )
    store.gate.clear()
    await figures.refresh()
    await clock.advance(30.0)
    await figures.refresh()
    assert (shown(figures), store.asked) == ("", 1)  # not asked again while it may still answer

    store.gate.set()
    await settle()

    assert value(shown(figures), "tasques_queue_backlog", {"queue": "mail"}) == 6


async def test_what_can_not_be_counted_is_shown_for_a_while_and_then_left_out(
    figures, store, clock, caplog
):
    """A figure that stands still would be taken for the truth."""
    caplog.set_level(logging.INFO)
    await figures.refresh()
    store.error = StoreUnavailableError("away")
    for _ in range(7):
        await clock.advance(10.0)
        await figures.refresh()
    assert "tasques_queue_depth{" in shown(figures)

    await clock.advance(0.1)
    assert shown(figures) == ""

    store.error = None
    await clock.advance(10.0)
    await figures.refresh()
    assert "tasques_queue_depth{" in shown(figures)
    messages = [record.message for record in caplog.records if "queues" in record.message]
    assert messages == ["the queues can not be counted", "the queues can be counted again"]
