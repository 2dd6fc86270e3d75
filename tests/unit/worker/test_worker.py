"""A worker against the real API, with the tasks in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from in_memory_api import build, serving

from tasques.client import AsyncClient, NewTask
from tasques.worker import Context, RetryLater, Unclaim, Worker

PATIENCE = 30.0
SHORT = timedelta(milliseconds=300)
LONG = timedelta(seconds=10)


@pytest.fixture(scope="module")
async def address():
    async with serving(build()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(address):
    async with AsyncClient(address, timeout=timedelta(seconds=5)) as client:
        yield client


@pytest.fixture
def queue(request):
    return request.node.name.replace("[", "-").replace("]", "").lower()


@pytest.fixture
def worker(client, queue):
    return Worker(client, queues=[queue], stop_timeout=LONG)


@asynccontextmanager
async def running(worker):
    """A worker for the time of a block, and then stopped."""
    run = asyncio.get_running_loop().create_task(worker.run())
    await asyncio.sleep(0)
    try:
        yield run
        worker.stop()
    finally:
        if not run.done() and not worker._work._stopping.is_set():
            run.cancel()
        await asyncio.wait_for(run, PATIENCE)


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.01)
        return found


async def state_of(client, task, *states):
    """The task once it is in one of the states."""

    async def look():
        now = await client.get(task.queue, task.id)
        return now if now.state in states else None

    return await until(look)


# -------------------------------------------------------------------- handlers


async def test_async_and_plain_functions_work_on_their_kinds(client, queue, worker):
    threads = []

    @worker.handler("async")
    async def on_loop(context: Context):
        threads.append(threading.current_thread())
        return {"sum": context.args["a"] + context.args["b"]}

    @worker.handler("plain")
    def in_thread(context: Context):
        threads.append(threading.current_thread())
        return {"product": context.args["a"] * context.args["b"]}

    tasks = [
        await client.enqueue(NewTask(queue, kind, {"a": 3, "b": 4})) for kind in ("async", "plain")
    ]
    async with running(worker):
        ended = [await state_of(client, task, "done") for task in tasks]

    assert [each.result.success for each in ended] == [{"sum": 7}, {"product": 12}]
    assert threading.main_thread() in threads
    assert len(set(threads)) == 2


@pytest.mark.parametrize("way", ["async", "plain"])
async def test_an_exception_fails_the_attempt(client, queue, worker, way):
    def broken(_):
        raise KeyError("x" * 20_000)

    async def broken_on_loop(context):
        broken(context)

    worker.handler("k")(broken if way == "plain" else broken_on_loop)
    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    failure = failed.result.failure
    assert failure["type"] == "KeyError"
    assert len(failure["message"]) <= 2000
    assert len(failure["traceback"]) <= 8000
    assert "in broken" in failure["traceback"]


@pytest.mark.parametrize(
    "error", [StopIteration(1), SystemExit(1), asyncio.CancelledError(), TimeoutError("\ud800")]
)
@pytest.mark.parametrize("way", ["async", "plain"])
async def test_whatever_a_handler_raises_the_worker_goes_on(client, queue, worker, way, error):
    def broken(_):
        raise error

    async def broken_on_loop(_):
        raise error

    worker.handler("k")(broken if way == "plain" else broken_on_loop)
    worker.handler("good")(lambda _: None)
    bad = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        await state_of(client, bad, "failed")
        await state_of(client, await client.enqueue(NewTask(queue, "good")), "done")


@pytest.mark.parametrize("returned", [5, "text", [1], {"x": float("nan")}, {"x": object()}])
async def test_what_can_not_be_stored_is_a_failure(client, queue, worker, returned):
    worker.handler("k")(lambda _: returned)
    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    assert failed.result.failure["type"] in {"TypeError", "ValueError"}


async def test_a_result_that_the_server_refuses_is_a_failure(client, queue, worker):
    deep = {}
    for _ in range(300):
        deep = {"deeper": deep}
    worker.handler("k")(lambda _: deep)
    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    assert failed.result.failure["type"] == "tasques.client.errors.InvalidRequestError"


async def test_a_kind_without_a_handler_fails(client, queue, worker):
    task = await client.enqueue(NewTask(queue, "unknown"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    assert "unknown" in failed.result.failure["message"]


async def test_a_handler_may_ask_for_another_try(client, queue, worker):
    @worker.handler("k")
    async def busy(_):
        raise RetryLater({"reason": "busy"})

    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    assert failed.result.failure == {"reason": "busy"}


async def test_a_handler_may_give_a_task_back(client, queue, worker):
    seen = []

    @worker.handler("k")
    async def picky(context):
        seen.append(context.task.attempted)
        if len(seen) == 1:
            raise Unclaim

    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        done = await state_of(client, task, "done")

    assert seen == [1, 1]
    assert done.attempted == 1


def test_a_kind_has_one_handler(worker):
    worker.handler("k")(lambda _: None)

    with pytest.raises(ValueError, match="two handlers for 'k'"):
        worker.handler("k")(lambda _: None)


def test_mistakes_are_named_at_once(client):
    with pytest.raises(TypeError, match="a list of names, not 'mails'"):
        Worker(client, queues="mails")
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Worker(client, queues=[], concurrency=0)


# -------------------------------------------------------------------- signs of life


async def test_signs_of_life_are_sent_with_what_was_reported(client, queue, worker):
    """A handler that reported once is heard of again and again, and what it said is kept."""
    go_on = asyncio.Event()

    @worker.handler("k")
    async def slow(context):
        context.report({"half": True})
        await go_on.wait()

    task = await client.enqueue(NewTask(queue, "k", processing_timeout=SHORT))
    async with running(worker):
        reports = set()

        async def look():
            claim = (await client.get(queue, task.id)).last_claimed
            if claim and claim.last_report:
                reports.add((claim.last_report.at, str(claim.last_report.data)))
            return len(reports) >= 3

        await until(look)
        go_on.set()
        await state_of(client, task, "done")

    assert {data for _, data in reports} == {"{'half': True}"}


async def test_reports_of_a_thread_arrive(client, queue, worker):
    go_on = threading.Event()

    @worker.handler("k")
    def slow(context):
        for number in range(50):
            context.report({"number": number})
        go_on.wait(PATIENCE)

    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):

        async def look():
            claim = (await client.get(queue, task.id)).last_claimed
            return claim and claim.last_report and claim.last_report.data == {"number": 49}

        await until(look)
        go_on.set()


async def test_a_report_must_be_json(client, queue, worker):
    worker.handler("k")(lambda context: context.report({"x": object()}))
    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        failed = await state_of(client, task, "failed")

    assert failed.result.failure["type"] == "TypeError"


# -------------------------------------------------------------------- lost claims


@pytest.mark.parametrize("way", ["async", "plain"])
async def test_a_lost_claim_cancels_the_work(client, queue, worker, way, caplog):
    """Here another ends it under the worker's name; the next sign of life is refused."""
    started, ended = threading.Event(), threading.Event()

    @worker.handler("async")
    async def slow(_):
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()

    @worker.handler("plain")
    def slow_in_thread(context):
        started.set()
        while not context.is_cancelled:
            context._cancelled.wait(0.01)
        ended.set()
        context.raise_if_cancelled()

    task = await client.enqueue(NewTask(queue, way, processing_timeout=SHORT))
    with caplog.at_level(logging.INFO, "tasques.worker"):
        async with running(worker):
            await asyncio.to_thread(started.wait, PATIENCE)
            await client.done(await client.get(queue, task.id), {"by": "another"})
            assert await asyncio.to_thread(ended.wait, PATIENCE)

    assert "claim lost" in caplog.messages
    assert (await client.get(queue, task.id)).result.success == {"by": "another"}


# -------------------------------------------------------------------- concurrency, stopping


async def test_no_more_are_worked_on_than_allowed(client, queue):
    worker = Worker(client, queues=[queue], concurrency=3)
    now, most = 0, 0

    @worker.handler("k")
    async def count(_):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    tasks = await client.enqueue_many([NewTask(queue, "k")] * 50)
    async with running(worker):
        for task in tasks:
            await state_of(client, task, "done")

    assert most == 3


async def test_a_stop_waits_for_what_runs(client, queue, worker):
    started, go_on = asyncio.Event(), asyncio.Event()

    @worker.handler("k")
    async def slow(_):
        started.set()
        await go_on.wait()

    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker) as run:
        await started.wait()
        worker.stop()
        await asyncio.sleep(0)
        assert not run.done()
        go_on.set()

    assert (await client.get(queue, task.id)).state == "done"


@pytest.mark.parametrize("way", ["async", "plain"])
async def test_a_stop_gives_back_what_takes_too_long(client, queue, way):
    worker = Worker(client, queues=[queue], stop_timeout=SHORT)
    started, never = threading.Event(), threading.Event()

    @worker.handler("async")
    async def slow(_):
        started.set()
        await asyncio.sleep(PATIENCE)

    @worker.handler("plain")
    def slow_in_thread(_):
        started.set()
        never.wait(PATIENCE)

    task = await client.enqueue(NewTask(queue, way))
    async with running(worker):
        await asyncio.to_thread(started.wait, PATIENCE)
    never.set()

    given_back = await client.get(queue, task.id)
    assert (given_back.state, given_back.attempted) == ("queued", 0)


async def test_a_second_stop_does_not_wait(client, queue, worker):
    started = asyncio.Event()

    @worker.handler("k")
    async def slow(_):
        started.set()
        await asyncio.sleep(PATIENCE)

    task = await client.enqueue(NewTask(queue, "k"))
    async with running(worker):
        await started.wait()
        worker.stop()

    assert (await client.get(queue, task.id)).state == "queued"


async def test_draining_ends_when_nothing_is_left(client, queue, worker):
    @worker.handler("k")
    async def chain(context):
        if context.args["left"]:
            await client.enqueue(NewTask(queue, "k", {"left": context.args["left"] - 1}))

    first = await client.enqueue(NewTask(queue, "k", {"left": 3}))

    async with asyncio.timeout(PATIENCE):
        await worker.drain()

    assert (await client.get(queue, first.id)).state == "done"
    assert await client.claim([queue], worker_id="w", block_for=timedelta(0)) == []
