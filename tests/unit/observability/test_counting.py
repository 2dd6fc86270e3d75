"""Counted is what was certainly stored; everything else passes unchanged."""

from __future__ import annotations

import pytest
from factories import START, a_claimed_task, a_task
from fakes import InMemoryTaskRepository, Operation

from tasques.domain.errors import TasquesError, UnresolvedWriteError
from tasques.domain.ports import ClaimSearch, Lane
from tasques.domain.task import Task
from tasques.observability.counting import CountingTaskRepository


@pytest.fixture
def inner():
    return InMemoryTaskRepository()


@pytest.fixture
def created():
    return []


@pytest.fixture
def updated():
    return []


@pytest.fixture
def tasks(inner, created, updated):
    return CountingTaskRepository(inner, on_created=created.append, on_updated=updated.append)


async def test_what_was_stored_is_told_once(tasks, created, updated):
    stored = await tasks.create(a_task())
    changed = await tasks.update(stored, Lane.CLAIM)

    assert created == [stored]
    assert updated == [changed]


async def test_of_many_those_are_told_that_were_stored(tasks, inner, created, updated):
    inner.store(a_task(id="taken"))
    outcomes = await tasks.create_all([a_task(id="new"), a_task(id="taken")])
    assert [isinstance(each, TasquesError) for each in outcomes] == [False, True]
    assert created == [outcomes[0]]

    outcomes = await tasks.update_all([outcomes[0], a_task(id="gone")], Lane.CLAIM)
    assert [isinstance(each, TasquesError) for each in outcomes] == [False, True]
    assert updated == [outcomes[0]]


async def test_nothing_is_told_when_nobody_may_write(tasks, inner, created, updated):
    await tasks.create_all([a_task()], may_write=lambda: False)
    await tasks.update_all([inner.store(a_task())], Lane.CLAIM, may_write=lambda: False)

    assert (created, updated) == ([], [])


@pytest.mark.parametrize("landed", [True, False])
async def test_what_may_have_been_stored_is_not_told(tasks, inner, created, updated, landed):
    error = UnresolvedWriteError("mail", "task-1")
    inner.fail_next(error, of=Operation.CREATE, landed=landed)
    with pytest.raises(UnresolvedWriteError):
        await tasks.create(a_task(id="one"))
    there = inner.store(a_task(id="two"))
    inner.fail_next(error, of=Operation.UPDATE, landed=landed)
    with pytest.raises(UnresolvedWriteError):
        await tasks.update(there, Lane.CLAIM)

    assert (created, updated) == ([], [])


async def test_reads_pass(tasks, inner):
    task = inner.store(a_task())
    claimed = inner.store(a_claimed_task(id="claimed"))
    await tasks.refresh()
    late = claimed.last_claimed.times_out_at

    assert await tasks.get(task.queue, task.id) == task
    (found,) = await tasks.search_claimable([ClaimSearch((), due_at=START, size=9)])
    assert [each.task_id for each in found] == [task.id]
    assert [each async for page in tasks.timed_out(late) for each in page] == [claimed]


async def test_whoever_wants_to_hear_nothing_does(inner):
    tasks = CountingTaskRepository(inner)

    stored = await tasks.create(a_task())

    assert isinstance(await tasks.update(stored, Lane.CLAIM), Task)
