from __future__ import annotations

from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_new_task, a_task
from fakes import Operation
from shop import Shop, ids, running

from tasques.domain.errors import (
    NotClaimedError,
    NotOwnedByWorkerError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    UnresolvedWriteError,
)
from tasques.domain.task import JsonText, TaskState
from tasques.services.tasks import Finish


@pytest.fixture
def shop():
    """Services; nobody is served claims."""
    return Shop()


def done(task_id, data=None):
    return Finish(queue="mail", task_id=task_id, is_success=True, data=data)


def failed(task_id, data=None):
    return Finish(queue="mail", task_id=task_id, is_success=False, data=data)


def hold(shop, *task_ids, is_remembered=True):
    for task_id in task_ids:
        task = shop.tasks.store(a_claimed_task(id=task_id))
        if is_remembered:
            shop.last_seen.remember(task)


def states(outcomes):
    return [
        type(outcome) if isinstance(outcome, Exception) else outcome.state for outcome in outcomes
    ]


async def test_several_tasks_are_created_in_their_order_each_for_itself(shop):
    shop.tasks.store(a_task(id="taken"))

    outcomes = await shop.service.create_all(
        [a_new_task(id="a"), a_new_task(id="taken"), a_new_task(id="b"), a_new_task(id="a")]
    )

    assert states(outcomes) == [
        TaskState.QUEUED,
        TaskAlreadyExistsError,
        TaskState.QUEUED,
        TaskAlreadyExistsError,
    ]
    assert [task.id for task in shop.tasks.stored] == ["taken", "a", "b"]


async def test_creating_nothing_is_nothing(shop):
    assert await shop.service.create_all([]) == []
    assert await shop.service.finish_all([], worker_id="worker-1") == []


async def test_what_was_created_together_is_handed_to_who_waits():
    async with running(Shop()) as shop:
        claims = await shop.park("a", "b")

        await shop.service.create_all(
            [
                a_new_task(id="later", run_at=START + timedelta(hours=1)),
                a_new_task(id="second"),
                a_new_task(id="first", priority=1),
            ]
        )

        assert [ids(await claim) for claim in claims] == [["first"], ["second"]]


async def test_what_is_remembered_is_finished_without_a_read(shop):
    hold(shop, "a", "b", "c")

    outcomes = await shop.service.finish_all(
        [done("a", JsonText('{"a":1}')), failed("b", JsonText('{"b":2}')), done("c")],
        worker_id="worker-1",
    )

    assert states(outcomes) == [TaskState.DONE, TaskState.FAILED, TaskState.DONE]
    assert shop.tasks.stored == outcomes
    assert outcomes[0].last_claimed.result.success == '{"a":1}'
    assert outcomes[1].last_claimed.result.failure == '{"b":2}'
    assert shop.tasks.calls[Operation.GET] == 0
    assert len(shop.last_seen) == 0


async def test_each_is_finished_for_itself(shop):
    hold(shop, "mine", "timed out", "others")
    hold(shop, "forgotten", is_remembered=False)
    shop.tasks.store(a_task(id="timed out"))
    other = a_task(id="others").claim(worker_id="other", at=START, claim_id="claim-2")
    shop.tasks.store(other)

    outcomes = await shop.service.finish_all(
        [done("never was"), done("timed out"), done("mine"), failed("others"), failed("forgotten")],
        worker_id="worker-1",
    )

    assert states(outcomes) == [
        TaskNotFoundError,
        NotClaimedError,
        TaskState.DONE,
        NotOwnedByWorkerError,
        TaskState.FAILED,
    ]


async def test_memory_that_is_out_of_date_is_read_again(shop):
    hold(shop, "a", "b")
    stored = shop.tasks.store(shop.tasks.stored[0]._replace(kind="changed elsewhere"))

    outcomes = await shop.service.finish_all([done("a"), done("b")], worker_id="worker-1")

    assert states(outcomes) == [TaskState.DONE, TaskState.DONE]
    assert outcomes[0].kind == stored.kind
    assert shop.tasks.calls[Operation.GET] == 1


async def test_a_task_that_is_finished_twice_in_one_batch_is_refused_once(shop):
    hold(shop, "a")

    outcomes = await shop.service.finish_all([done("a"), failed("a")], worker_id="worker-1")

    assert states(outcomes) == [TaskState.DONE, NotClaimedError]
    assert shop.tasks.stored == outcomes[:1]


async def test_a_write_of_unknown_fate_spoils_no_other(shop):
    hold(shop, "a", "b")
    shop.tasks.fail_next(UnresolvedWriteError("mail", "a"), of=Operation.UPDATE)

    outcomes = await shop.service.finish_all([done("a"), done("b")], worker_id="worker-1")

    assert states(outcomes) == [UnresolvedWriteError, TaskState.DONE]
