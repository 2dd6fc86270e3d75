from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from fakes import settle

from tasques.background_tasks import BackgroundTasks


@pytest.fixture
async def tasks():
    tasks = BackgroundTasks()
    yield tasks
    await tasks.drain(0)


async def test_work_goes_on_although_nobody_keeps_it(tasks):
    begun = asyncio.Event()
    done = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0)
        done.set()

    tasks.start(work(), name="work")
    await begun.wait()
    gc.collect()

    await asyncio.wait_for(done.wait(), timeout=60)
    await settle()
    assert len(tasks) == 0


async def test_who_drains_waits_for_all(tasks):
    done = []

    async def work(number) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        done.append(number)

    for number in range(5):
        tasks.start(work(number), name="work")
    await tasks.drain(60)

    assert done == [0, 1, 2, 3, 4]
    assert len(tasks) == 0


async def test_what_does_not_end_in_time_is_cancelled(tasks):
    stuck = tasks.start(asyncio.Event().wait(), name="stuck")

    await tasks.drain(0.001)

    assert stuck.cancelled()
    assert len(tasks) == 0


async def test_who_drains_does_not_fail_with_what_is_left(tasks, caplog):
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("could not tidy up")

    tasks.start(work(), name="untidy")
    await settle()

    await tasks.drain(0.001)

    assert [record.task for record in caplog.records] == ["untidy"]


async def test_a_failure_is_logged_with_the_name_of_the_work(tasks, caplog):
    async def work() -> None:
        raise ValueError("no luck")

    tasks.start(work(), name="luckless")
    await tasks.drain(60)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.task == "luckless"
    assert str(record.exc_info[1]) == "no luck"


async def test_a_cancellation_is_not_logged_as_a_failure(tasks, caplog):
    tasks.start(asyncio.Event().wait(), name="cancelled").cancel()

    await tasks.drain(60)

    assert caplog.records == []
