from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_new_task, a_task
from fakes import Operation
from shop import Shop

from tasques.domain.errors import (
    NotClaimedError,
    NotOwnedByWorkerError,
    ReportFromThePastError,
    StoreUnavailableError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import TIMED_OUT, JsonText, TaskState

DATA = JsonText('{"a":1}')

MOVES = {
    "report": lambda service, worker: service.report("mail", "task-1", worker_id=worker, data=DATA),
    "complete": lambda service, worker: service.complete(
        "mail", "task-1", worker_id=worker, success=DATA
    ),
    "fail": lambda service, worker: service.fail("mail", "task-1", worker_id=worker, failure=DATA),
    "unclaim": lambda service, worker: service.unclaim("mail", "task-1", worker_id=worker),
}


@pytest.fixture
def shop():
    """Services; nobody is served claims."""
    return Shop()


@pytest.fixture(params=list(MOVES))
def move(request):
    """What a worker does with the task that it holds, by `worker-1` if nothing is said."""

    def make(service, worker="worker-1"):
        return MOVES[request.param](service, worker)

    return make


def claimed(shop, *, is_remembered=True, **changes):
    """A task that `worker-1` holds."""
    task = shop.tasks.store(a_claimed_task(**changes))
    if is_remembered:
        shop.last_seen.remember(task)
    return task


def timed_out(task):
    return task.time_out(at=START, retry_at=START)


def conflicting(shop, times):
    """Let others write before each of the next updates."""
    left = [times]

    async def be_faster(task):
        if left[0]:
            left[0] -= 1
            shop.tasks.store((await peek(shop))._replace(kind=f"{left[0]}"))

    shop.tasks.before_update = be_faster


async def with_time(shop, coroutine):
    """Run something that pauses."""
    task = asyncio.create_task(coroutine)
    while not task.done():
        await shop.clock.advance(0.1)
    return await task


async def peek(shop):
    (task,) = shop.tasks.stored
    return task


# ---------------------------------------------------------------- creating and reading


async def test_a_task_is_created_as_it_was_ordered(shop):
    task = await shop.service.create(a_new_task(priority=7, args=DATA))

    assert shop.tasks.stored == [task]
    assert (task.state, task.attempted, task.priority, task.args) == (
        TaskState.QUEUED,
        0,
        7,
        DATA,
    )
    assert task.created_at == task.last_enqueued_at == task.modified_at == START
    assert shop.tasks.calls == {Operation.CREATE: 1}


async def test_an_id_that_is_taken_is_refused(shop):
    await shop.service.create(a_new_task())

    with pytest.raises(TaskAlreadyExistsError):
        await shop.service.create(a_new_task())


async def test_two_tasks_of_one_id_can_be_told_apart(shop):
    first = await shop.service.create(a_new_task())
    shop.tasks.remove("mail", "task-1")

    assert (await shop.service.create(a_new_task())).incarnation != first.incarnation


async def test_reading_never_relies_on_memory(shop):
    claimed(shop)
    shop.tasks.store(a_task(state=TaskState.DONE))

    assert (await shop.service.get("mail", "task-1")).state is TaskState.DONE


async def test_what_does_not_exist_can_not_be_read(shop):
    with pytest.raises(TaskNotFoundError):
        await shop.service.get("mail", "task-1")


# ---------------------------------------------------------------- the usual case


async def test_what_is_remembered_is_changed_by_one_urgent_write_and_no_read(shop, move):
    claimed(shop)

    task = await move(shop.service)

    assert shop.tasks.stored == [task]
    assert shop.tasks.calls == {Operation.UPDATE: 1}
    assert shop.tasks.writes == [(task, Lane.ACKNOWLEDGE)]


async def test_what_is_not_remembered_is_read_first(shop, move):
    claimed(shop, is_remembered=False)

    await move(shop.service)

    assert shop.tasks.calls == {Operation.GET: 1, Operation.UPDATE: 1}


async def test_every_way_to_end_an_attempt(shop):
    claimed(shop)
    done = await MOVES["complete"](shop.service, "worker-1")
    assert (done.state, done.last_claimed.result.success) == (TaskState.DONE, DATA)

    claimed(shop)
    failed = await MOVES["fail"](shop.service, "worker-1")
    assert (failed.state, failed.last_claimed.result.failure) == (TaskState.FAILED, DATA)
    assert timedelta(seconds=15) <= failed.run_at - START <= timedelta(seconds=44)

    claimed(shop, attempted=4)
    dead = await MOVES["fail"](shop.service, "worker-1")
    assert dead.state is TaskState.DEAD

    claimed(shop)
    unclaimed = await MOVES["unclaim"](shop.service, "worker-1")
    assert (unclaimed.state, unclaimed.attempted) == (TaskState.QUEUED, 0)


async def test_a_task_that_goes_on_is_remembered_and_one_that_ended_is_not(shop):
    claimed(shop, is_remembered=False)
    reported = await MOVES["report"](shop.service, "worker-1")
    assert shop.last_seen.find("mail", "task-1") == reported

    await MOVES["complete"](shop.service, "worker-1")
    assert shop.last_seen.find("mail", "task-1") is None
    assert shop.tasks.calls[Operation.GET] == 1


# ---------------------------------------------------------------- memory may only say yes


async def test_memory_that_is_out_of_date_is_read_again(shop, move):
    task = claimed(shop)
    shop.tasks.store(task._replace(kind="changed elsewhere"))

    changed = await move(shop.service)

    assert changed.kind == "changed elsewhere"
    assert shop.tasks.calls == {Operation.UPDATE: 2, Operation.GET: 1}
    assert shop.clock.sleepers == 0


async def test_a_task_that_was_taken_away_meanwhile_is_refused_after_a_read(shop, move):
    task = claimed(shop)
    shop.tasks.store(timed_out(task))

    with pytest.raises(NotClaimedError):
        await move(shop.service)

    assert shop.tasks.calls[Operation.GET] == 1
    assert shop.last_seen.find("mail", "task-1") is None
    assert (await peek(shop)).last_claimed.result.failure == TIMED_OUT


async def test_a_task_that_others_hold_by_now_is_refused_after_a_read(shop, move):
    task = claimed(shop)
    shop.tasks.store(timed_out(task).claim(worker_id="other", at=START, claim_id="claim-2"))

    with pytest.raises(NotOwnedByWorkerError):
        await move(shop.service)

    assert shop.tasks.calls[Operation.GET] == 1


async def test_who_holds_a_task_by_now_is_not_refused_because_of_memory(shop, move):
    task = claimed(shop)
    shop.tasks.store(timed_out(task).claim(worker_id="other", at=START, claim_id="claim-2"))

    changed = await move(shop.service, "other")

    assert shop.tasks.stored == [changed]
    assert shop.tasks.calls == {Operation.GET: 1, Operation.UPDATE: 1}


async def test_a_remembered_task_is_read_before_a_worker_is_refused(shop, move):
    claimed(shop)

    with pytest.raises(NotOwnedByWorkerError):
        await move(shop.service, "other")

    assert shop.tasks.calls == {Operation.GET: 1}


async def test_a_report_from_the_past_is_refused_after_a_read(shop):
    late = START + timedelta(minutes=5)
    claimed_task = a_claimed_task().report(worker_id="worker-1", at=late, data=None)
    shop.last_seen.remember(shop.tasks.store(claimed_task))

    with pytest.raises(ReportFromThePastError):
        await MOVES["report"](shop.service, "worker-1")

    assert shop.tasks.calls == {Operation.GET: 1}


async def test_a_task_that_is_gone_is_not_found_whatever_memory_says(shop, move):
    claimed(shop)
    shop.tasks.remove("mail", "task-1")

    with pytest.raises(TaskNotFoundError):
        await move(shop.service)


# ---------------------------------------------------------------- conflicts and faults


@pytest.mark.parametrize("is_remembered", [True, False])
async def test_conflicts_are_retried_up_to_the_limit(shop, move, is_remembered):
    claimed(shop, is_remembered=is_remembered)
    conflicting(shop, 3 + is_remembered)

    changed = await with_time(shop, move(shop.service))

    assert changed.kind == "0"
    assert shop.tasks.calls[Operation.GET] == 4


@pytest.mark.parametrize("is_remembered", [True, False])
async def test_more_conflicts_are_an_error(shop, move, is_remembered):
    claimed(shop, is_remembered=is_remembered)
    conflicting(shop, 100)

    with pytest.raises(VersionConflictError):
        await with_time(shop, move(shop.service))

    assert shop.tasks.calls[Operation.UPDATE] == 4 + is_remembered
    assert shop.tasks.writes == []


async def test_a_task_is_judged_anew_after_each_conflict(shop, move):
    task = claimed(shop, is_remembered=False)

    async def be_faster(_):
        shop.tasks.store(timed_out(task))

    shop.tasks.before_update = be_faster

    with pytest.raises(NotClaimedError):
        await with_time(shop, move(shop.service))

    assert shop.tasks.calls[Operation.UPDATE] == 1


@pytest.mark.parametrize("landed", [True, False])
async def test_a_write_of_unknown_fate_is_an_error_and_the_next_try_tells_the_truth(shop, landed):
    claimed(shop)
    error = UnresolvedWriteError("mail", "task-1")
    shop.tasks.fail_next(error, of=Operation.UPDATE, landed=landed)

    with pytest.raises(UnresolvedWriteError):
        await MOVES["complete"](shop.service, "worker-1")

    if landed:
        with pytest.raises(NotClaimedError):
            await MOVES["complete"](shop.service, "worker-1")
    else:
        await MOVES["complete"](shop.service, "worker-1")
    assert (await peek(shop)).state is TaskState.DONE


@pytest.mark.parametrize("of", [Operation.GET, Operation.UPDATE])
async def test_a_store_that_is_away_is_an_error(shop, move, of):
    claimed(shop, is_remembered=False)
    shop.tasks.fail_next(StoreUnavailableError("down"), of=of)

    with pytest.raises(StoreUnavailableError):
        await move(shop.service)

    await move(shop.service)


# ------------------------------------------------------------------------------ the archive


def put_in_archive(shop, task):
    shop.archive.archived[task.queue, task.id, task.incarnation] = task._replace(archived=True)


async def test_a_task_that_was_archived_is_found_and_marked(shop):
    put_in_archive(shop, a_task())

    assert (await shop.service.get("mail", "task-1")).archived


async def test_of_a_used_id_the_task_that_is_not_archived_is_found(shop):
    put_in_archive(shop, a_task())
    shop.tasks.store(a_task())

    assert not (await shop.service.get("mail", "task-1")).archived


async def test_a_task_that_is_nowhere_is_not_found(shop):
    with pytest.raises(TaskNotFoundError):
        await shop.service.get("mail", "task-1")


async def test_a_task_that_came_after_the_first_look_is_found(shop):
    class SlowArchive:
        async def get(self, queue, task_id):
            shop.tasks.store(a_task())
            raise TaskNotFoundError(queue, task_id)

    shop.service._archive = SlowArchive()

    assert (await shop.service.get("mail", "task-1")).id == "task-1"


async def test_an_archive_that_does_not_answer_is_not_taken_for_an_empty_one(shop):
    class Down:
        async def get(self, queue, task_id):
            raise StoreUnavailableError("down")

    shop.service._archive = Down()

    with pytest.raises(StoreUnavailableError):
        await shop.service.get("mail", "task-1")


async def test_an_archived_task_is_not_found_by_workers(shop, move):
    put_in_archive(shop, a_claimed_task().complete(worker_id="worker-1", at=START, success=None))

    with pytest.raises(TaskNotFoundError):
        await move(shop.service)
