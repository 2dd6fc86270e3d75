"""Both clients against the real API, with the tasks in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from in_memory_api import serving_in_a_thread

from tasques.client import (
    AlreadyExistsError,
    AsyncClient,
    BatchError,
    Client,
    InvalidRequestError,
    NewRecurringTask,
    NewTask,
    NoAnswerError,
    NotAuthenticatedError,
    NotClaimedError,
    NotFoundError,
    RecurringTaskChange,
    TaskDefinition,
    TaskResult,
    WaitTimeoutError,
)
from tasques.client.testing import FakeServer

NOW = timedelta(0)
SOON = timedelta(milliseconds=300)


class Awaitable:
    """The blocking client, as if it were the other one."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **named: asyncio.to_thread(method, *args, **named)


@pytest.fixture(scope="module")
def address():
    with serving_in_a_thread() as address:
        yield address


@pytest.fixture(scope="module")
def fake():
    return FakeServer()


@pytest.fixture(params=["blocking", "asynchronous", "blocking-fake", "asynchronous-fake"])
async def client(request, address, fake):
    """What holds for a server holds for the fake of it that users test with."""
    is_fake = request.param.endswith("fake")
    if request.param.startswith("blocking"):
        with fake.client() if is_fake else Client(address) as blocking:
            yield Awaitable(blocking)
    else:
        async with fake.async_client() if is_fake else AsyncClient(address) as asynchronous:
            yield asynchronous


@pytest.fixture
def queue(request):
    return request.node.name.replace("[", "-").replace("]", "").lower()


async def test_a_task_lives_its_life(client, queue):
    created = await client.enqueue(NewTask(queue, "welcome", {"to": "ada", "big": 2**70}))
    assert created.state == "queued"
    assert created.args == {"to": "ada", "big": 2**70}

    (claimed,) = await client.claim([queue], worker_id="w")
    assert claimed.last_claimed.worker_id == "w"
    assert (await client.report(claimed, {"half": True})).last_claimed.last_report.data == {
        "half": True
    }

    assert (await client.done(claimed, {"sent": 1})).result.success == {"sent": 1}
    assert (await client.done(claimed, {"sent": 1})).state == "done"
    assert (await client.wait(created, SOON)).state == "done"
    with pytest.raises(NotClaimedError):
        await client.failed(claimed)


async def test_a_proxy_is_not_asked_for_what_is_on_this_machine(address, monkeypatch):
    """As servers do not ask it for their Elasticsearch."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # a dead one
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    with Client(address) as blocking, pytest.raises(NotFoundError):
        await asyncio.to_thread(blocking.get, "q", "nowhere")
    async with AsyncClient(address) as asynchronous:
        with pytest.raises(NotFoundError):
            await asynchronous.get("q", "nowhere")


async def test_everything_about_a_task_can_be_said(client, queue):
    at = datetime(2040, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    new = NewTask(
        queue,
        "k",
        id="a/b?c#d",
        priority=-5,
        retry_times=3,
        processing_timeout=timedelta(hours=1, milliseconds=1),
        run_at=at,
        context={"who": "me"},
    )

    await client.enqueue(new)

    task = await client.get(queue, "a/b?c#d")
    assert {name: getattr(task, name) for name in new.__dataclass_fields__} == {
        name: getattr(new, name) for name in new.__dataclass_fields__
    }


async def test_refusals_are_exceptions_with_codes(client, queue):
    await client.enqueue(NewTask(queue, "k", id="taken"))
    with pytest.raises(AlreadyExistsError) as taken:
        await client.enqueue(NewTask(queue, "k", id="taken"))
    assert taken.value.code == "task_already_exists"
    with pytest.raises(InvalidRequestError, match="must be in lower case"):
        await client.enqueue(NewTask("Upper", "k"))
    with pytest.raises(NotFoundError):
        await client.get(queue, "nobody")
    with pytest.raises(ValueError, match="not JSON compliant"):
        await client.enqueue(NewTask(queue, "k", {"x": float("nan")}))


async def test_an_attempt_can_fail_or_be_given_back(client, queue):
    await client.enqueue(NewTask(queue, "k", retry_times=0))
    (claimed,) = await client.claim([queue], worker_id="w")
    assert (await client.unclaim(claimed)).attempted == 0
    (claimed,) = await client.claim([queue], worker_id="w")

    dead = await client.failed(claimed, {"type": "Oops"})

    assert dead.state == "dead"
    assert dead.result.failure == {"type": "Oops"}


async def test_many_tasks_and_results_at_once(client, queue):
    created = await client.enqueue_many(NewTask(queue, "k", {"n": n}) for n in range(1500))
    assert [task.args["n"] for task in created] == list(range(1500))

    claimed = await client.claim([queue], worker_id="w", amount=1000)
    results = [TaskResult(task, "done", {"n": task.args["n"]}) for task in claimed]
    finished = await client.finish_many(results)

    assert all(each.result.success == each.args for each in finished)
    with pytest.raises(BatchError) as refused:
        await client.enqueue_many([NewTask(queue, "k", id="new"), NewTask("No", "k")])
    good, bad = refused.value.outcomes
    assert good.id == "new"
    assert isinstance(bad, InvalidRequestError)


async def test_waiting_and_claiming_end_in_time(client, queue):
    task = await client.enqueue(NewTask(queue, "k", run_at=datetime(2040, 1, 1, tzinfo=UTC)))

    with pytest.raises(WaitTimeoutError):
        await client.wait(task, SOON)
    assert await client.claim([queue], worker_id="w", block_for=NOW) == []


async def test_recurring_tasks_can_be_managed(client, queue):
    definition = TaskDefinition(queue, "k", {"scope": "all"}, retry_times=2)
    new = NewRecurringTask(queue, "30 2 * * *", definition, time_zone="Europe/Berlin")
    created = await client.create_recurring_task(new)
    assert created.task_definition.args == {"scope": "all"}
    assert created.schedule_expression == "30 2 * * *"
    if "fake" not in queue:  # whose schedules never fire
        assert created.next_fire_at is not None
        assert len(await client.upcoming(queue, count=3)) == 3

    paused = await client.update_recurring_task(queue, RecurringTaskChange(paused=True))
    assert paused.next_fire_at is None
    assert queue in [each.id for each in await client.list_recurring_tasks()]
    assert (await client.run_recurring_task(queue)).recurring_task_id == queue

    await client.delete_recurring_task(queue)
    with pytest.raises(NotFoundError):
        await client.get_recurring_task(queue)


async def test_priorities_and_times_order_claims(client, queue):
    soon = datetime(2020, 1, 1, tzinfo=UTC)
    for task_id, priority, days in [("c", 0, 1), ("b", 0, 0), ("a", 5, 2), ("later", 9, 10_000)]:
        at = soon + timedelta(days=days)
        await client.enqueue(NewTask(queue, "k", id=task_id, priority=priority, run_at=at))

    claimed = await client.claim([queue], worker_id="w", amount=10)

    assert [each.id for each in claimed] == ["a", "b", "c"]


async def test_a_claim_waits_for_a_task(client, queue):
    waiting = asyncio.get_running_loop().create_task(client.claim([queue], worker_id="w"))
    await asyncio.sleep(0)
    created = await client.enqueue(NewTask(queue, "k"))

    assert [each.id for each in await waiting] == [created.id]


async def test_users_are_known_by_their_password():
    with serving_in_a_thread(users={"ada": "pä:ss"}) as address:
        async with AsyncClient(address, auth=("ada", "pä:ss")) as client:
            assert (await client.enqueue(NewTask("q", "k"))).queue == "q"
        async with AsyncClient(address) as client:
            with pytest.raises(NotAuthenticatedError):
                await client.enqueue(NewTask("q", "k"))


async def test_nobody_there_is_said_when_the_time_is_over():
    async with AsyncClient("http://127.0.0.1:9", timeout=SOON) as client:
        with pytest.raises(NoAnswerError):
            await client.get("q", "1")


@pytest.mark.parametrize("url", ["localhost:8080", "127.0.0.1", "ftp://here", "http://", ""])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_that_is_none_is_named_at_once(kind, url):
    with pytest.raises(ValueError, match="is no address such as"):
        kind(url)


async def test_a_server_may_live_below_a_path():
    paths = []

    def answer(request):
        paths.append(request.url.path)
        return httpx.Response(200, json=[])

    transport = httpx.MockTransport(answer)
    async with AsyncClient("http://proxy.invalid/queues", transport=transport) as client:
        await client.list_recurring_tasks()

    assert paths == ["/queues/recurring_tasques"]
