"""New tasks that are stored in the hands of a worker, when requests to Elasticsearch get lost."""

from __future__ import annotations

import asyncio

import pytest
from proxy import bulks, delay_request, drop_answer, drop_request
from shop import Shop, ids, running

from tasques.clock import SystemClock
from tasques.domain.errors import UnresolvedWriteError

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
async def shop(make_repository):
    """Services whose writes are given up after a second."""
    tasks = await make_repository(deadline=1.0, request_timeout=0.3)
    async with running(Shop(tasks=tasks, clock=SystemClock()), seconds=10) as shop:
        yield shop


def is_search(request):
    return request.path.endswith("/_msearch")


@pytest.fixture
async def claim(shop, proxy):
    """Of a worker for whom everything was looked at that is there."""
    claim = shop.begin("worker-1")
    async with asyncio.timeout(30):
        # With the second one begun, the first one was seen to the end.
        while sum(map(is_search, proxy.requests)) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    return claim


@pytest.mark.parametrize("fault", [drop_answer, drop_request])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_answer_costs_the_worker_nothing(shop, proxy, claim, fault, times):
    """The create is repeated, and its conflict with itself is seen through."""
    proxy.fault = bulks(fault, times)

    created = await shop.enqueue("new")

    (claimed,) = await claim
    assert claimed.before == created
    assert await shop.tasks.get("mail", "new") == claimed.task
    writes = [request.body for request in proxy.requests if request.is_bulk]
    assert all(b'{"create":' in write and b'"worker-1"' in write for write in writes)


@pytest.mark.parametrize("fault", [drop_answer, drop_request])
async def test_what_nobody_knows_of_is_handed_out_as_if_it_never_had_been(
    shop, proxy, claim, fault
):
    """Whether it was stored or not: the client is told so, and the attempt does not count."""
    proxy.fault = fault
    with pytest.raises(UnresolvedWriteError):
        await shop.enqueue("new")
    proxy.fault = None

    (claimed,) = await claim

    assert claimed.task.attempted == 1
    assert await shop.tasks.get("mail", "new") == claimed.task


async def test_a_create_that_is_executed_late_changes_nothing(shop, proxy, claim):
    """It may be under way when its writer has given up, and the task is somebody's by then."""
    late = delay_request(2.0)
    answers = []

    async def be_late(request):
        answers.append(asyncio.ensure_future(late(request)))
        return await asyncio.shield(answers[-1])

    proxy.fault = bulks(be_late, 1000)
    with pytest.raises(UnresolvedWriteError):
        await shop.enqueue("new")
    proxy.fault = None
    (claimed,) = await claim

    for answer in await asyncio.gather(*answers):
        assert b'"status":409' in answer.body
    assert ids([claimed]) == ["new"]
    assert await shop.tasks.get("mail", "new") == claimed.task
