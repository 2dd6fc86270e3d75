from __future__ import annotations

import asyncio

import pytest
from factories import START, a_claimed_task, a_task
from fakes import InMemoryTaskRepository, Operation

from tasques.domain.errors import (
    CorruptDocumentError,
    StoreUnavailableError,
    TaskNotFoundError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import ClaimSearch, Lane

SEARCH = ClaimSearch(queues=(), due_at=START, size=10)


async def test_the_next_operation_fails_when_told_and_then_no_more():
    tasks = InMemoryTaskRepository()
    tasks.fail_next(StoreUnavailableError("down"))

    with pytest.raises(StoreUnavailableError, match="down"):
        await tasks.create(a_task())

    assert tasks.stored == []
    assert (await tasks.create(a_task())).version is not None


async def test_a_failure_waits_for_the_operation_that_it_is_meant_for():
    tasks = InMemoryTaskRepository()
    tasks.fail_next(StoreUnavailableError("down"), of=Operation.GET)
    await tasks.create(a_task())
    await tasks.refresh()
    await tasks.search_claimable([SEARCH])

    with pytest.raises(StoreUnavailableError):
        await tasks.get("mail", "task-1")
    assert (await tasks.get("mail", "task-1")).id == "task-1"


@pytest.mark.parametrize("operation", list(Operation))
async def test_every_operation_can_fail(operation):
    tasks = InMemoryTaskRepository()
    task = tasks.store(a_task())
    tasks.fail_next(StoreUnavailableError("down"), of=operation)
    begin = {
        Operation.CREATE: lambda: tasks.create(a_task(id="other")),
        Operation.GET: lambda: tasks.get("mail", "task-1"),
        Operation.UPDATE: lambda: tasks.update(task, Lane.CLAIM),
        Operation.SEARCH: lambda: tasks.search_claimable([SEARCH]),
        Operation.TIMED_OUT: lambda: anext(tasks.timed_out(START)),
        Operation.REFRESH: tasks.refresh,
    }[operation]

    with pytest.raises(StoreUnavailableError):
        await begin()

    assert tasks.stored == [task]
    assert tasks.calls == {operation: 1}


async def test_a_write_can_fail_although_it_took_place():
    tasks = InMemoryTaskRepository()
    task = await tasks.create(a_task())
    error = UnresolvedWriteError("mail", "task-1")
    tasks.fail_next(error, of=Operation.UPDATE, landed=True)

    with pytest.raises(UnresolvedWriteError):
        await tasks.update(task._replace(kind="changed"), Lane.CLAIM)

    assert (await tasks.get("mail", "task-1")).kind == "changed"


async def test_another_server_can_be_first():
    tasks = InMemoryTaskRepository()
    task = await tasks.create(a_task())

    async def somebody_claims(update):
        assert update == task._replace(kind="changed")
        tasks.store(a_claimed_task())

    tasks.before_update = somebody_claims

    with pytest.raises(VersionConflictError):
        await tasks.update(task._replace(kind="changed"), Lane.CLAIM)

    assert (await tasks.get("mail", "task-1")).state == "claimed"
    assert tasks.writes == []


async def test_a_task_can_be_taken_away():
    tasks = InMemoryTaskRepository()
    task = await tasks.create(a_task())
    tasks.remove("mail", "task-1")

    with pytest.raises(VersionConflictError):
        await tasks.update(task, Lane.CLAIM)
    with pytest.raises(TaskNotFoundError):
        await tasks.get("mail", "task-1")


async def test_a_document_can_be_broken():
    tasks = InMemoryTaskRepository()
    await tasks.create(a_task())
    tasks.break_document("mail", "task-1")
    await tasks.refresh()
    ((candidate,),) = await tasks.search_claimable([SEARCH])

    with pytest.raises(CorruptDocumentError, match="mail:task-1"):
        candidate.task()
    with pytest.raises(CorruptDocumentError, match="mail:task-1"):
        await tasks.get("mail", "task-1")


async def test_a_search_can_be_held_up():
    tasks = InMemoryTaskRepository()
    go_on = asyncio.Event()
    tasks.before_search = go_on.wait

    search = asyncio.ensure_future(tasks.search_claimable([SEARCH]))
    await tasks.create(a_task())
    await tasks.refresh()
    assert not search.done()
    go_on.set()

    ((candidate,),) = await search
    assert candidate.task_id == "task-1"


async def test_writes_and_searches_are_on_record():
    tasks = InMemoryTaskRepository()
    task = await tasks.create(a_task())
    updated = await tasks.update(task, Lane.ACKNOWLEDGE)
    await tasks.search_claimable([SEARCH, SEARCH])

    assert tasks.writes == [(updated, Lane.ACKNOWLEDGE)]
    assert tasks.searches == [SEARCH, SEARCH]
    assert tasks.calls == {Operation.CREATE: 1, Operation.UPDATE: 1, Operation.SEARCH: 1}
