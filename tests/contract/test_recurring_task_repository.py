"""What every `RecurringTaskRepository` promises, the one in memory included."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Final

import pytest
from conftest import PATIENCE
from factories import START, a_definition, a_recurring_task
from fake_recurring import InMemoryRecurringTaskRepository

from tasques.clock import SystemClock
from tasques.domain.errors import (
    RecurringTaskAlreadyExistsError,
    RecurringTaskConflictError,
    RecurringTaskNotFoundError,
)
from tasques.domain.recurring import MisfirePolicy, PendingTask, RecurringTask
from tasques.domain.recurring_ports import ChangeMark
from tasques.domain.task import JsonText, Version
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.recurring import ElasticsearchRecurringTaskRepository
from tasques.repository.setup import setup
from tasques.unique import UniqueMarks

HOSTILE_IDS: Final = [
    "_id",
    " ",
    "a/b",
    "a?b#c&d=e",
    "%2F",
    "*",
    "a,b",
    "back\\slash",
    "line\nbreak",
    "\x00\x7f",
    "caf\u00e9",
    "cafe\u0301",
    "x" * 330,
    "\u00e9" * 165,
]
DEEP: Final = JsonText('{"a":' * 2000 + "1" + "}" * 2000)


def with_every_member() -> RecurringTask:
    return RecurringTask(
        id="nightly",
        schedule_expression="  30 2 * * MON-FRI ",
        time_zone="Europe/Berlin",
        skip_if_outstanding_tasks_exist=True,
        definition=a_definition(
            priority=-(2**63), args=DEEP, context=JsonText('{"a":1e400,"a":2,"\u00fc":"\\n"}')
        ),
        paused=True,
        misfire_policy=MisfirePolicy.FIRE_ALL,
        created_at=START,
        modified_at=START + timedelta(microseconds=7),
        schedule_since=START + timedelta(microseconds=1),
        last_instant=START + timedelta(seconds=5),
        pending=(
            PendingTask(queue="mail", task_id="nightly@1", instant=START),
            PendingTask(queue="post", task_id="nightly@2", instant=START + timedelta(seconds=5)),
        ),
        last_fired_at=START + timedelta(seconds=6),
        last_task_id="nightly@2",
        is_deleted=True,
        incarnation="incarnation-of-22-char",
        unknown_members={"from_tomorrow": {"a": [1]}},
    )


@pytest.fixture
async def in_elasticsearch(elasticsearch, prefix):
    """A repository with an index of its own, which nobody refreshes but the repository."""
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=2, replicas=0, refresh_interval=timedelta(hours=1)
    )
    await elasticsearch.indices.put_mapping(
        index=names.recurring_index,
        properties={"from_tomorrow": {"type": "object", "enabled": False}},
    )
    connection = Connection(elasticsearch, authorization=None)
    clock = SystemClock()
    limits = WriteLimits(deadline=PATIENCE, request_timeout=PATIENCE)
    writer = BulkWriter(connection, limits=limits, clock=clock, random=Random())
    reader = DocumentReader(
        connection,
        clock=clock,
        random=Random(),
        deadline=PATIENCE,
        request_timeout=PATIENCE,
        max_pending=100_000,
    )
    yield ElasticsearchRecurringTaskRepository(
        alias=names.recurring_alias,
        connection=connection,
        writer=writer,
        reader=reader,
        clock=clock,
        new_write_id=UniqueMarks(),
        request_timeout=PATIENCE,
    )
    await writer.close(PATIENCE)
    await reader.close()


@pytest.fixture(params=["memory", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def repository(request):
    if request.param == "memory":
        return InMemoryRecurringTaskRepository()
    return request.getfixturevalue("in_elasticsearch")


async def everything(repository):
    return [task async for page in repository.list_all() for task in page]


async def changes(repository, mark, *known):
    versions = {task.id: task.version for task in known}
    return await repository.changed_since(mark, lambda key, found: versions.get(key) == found)


@pytest.mark.parametrize("task", [with_every_member(), a_recurring_task()], ids=["all", "few"])
async def test_what_was_stored_is_read(repository, task):
    stored = await repository.create(task)

    assert stored == replace(task, version=stored.version)
    assert await repository.get(task.id) == stored


@pytest.mark.parametrize("task_id", HOSTILE_IDS, ids=repr)
async def test_any_id_is_safe(repository, task_id):
    stored = await repository.create(a_recurring_task(id=task_id))

    assert await repository.get(task_id) == stored
    assert await everything(repository) == [stored]


async def test_an_unknown_one_is_not_found(repository):
    with pytest.raises(RecurringTaskNotFoundError):
        await repository.get("unknown")


async def test_an_id_can_be_taken_once(repository):
    first = await repository.create(a_recurring_task())

    with pytest.raises(RecurringTaskAlreadyExistsError):
        await repository.create(a_recurring_task(schedule_expression="@daily"))
    assert await repository.get(first.id) == first


async def test_the_same_one_may_be_created_again(repository):
    task = a_recurring_task()
    stored = await repository.create(task)

    assert await repository.create(task) == stored


async def test_the_id_of_a_deleted_one_is_free_and_what_is_pending_stays(repository):
    pending = (PendingTask(queue="mail", task_id="r@1", instant=START),)
    first = await repository.create(a_recurring_task())
    fired = first.advance(START, pending=pending, at=START).delete(at=START)
    deleted = await repository.update(fired)

    again = await repository.create(a_recurring_task(schedule_expression="@daily"))

    assert (again.pending, again.last_instant) == (pending, START)
    assert not again.is_deleted
    assert again.version > deleted.version
    assert await repository.get(again.id) == again


async def test_of_several_who_take_the_id_of_a_deleted_one_one_does(repository):
    first = await repository.create(a_recurring_task())
    await repository.update(first.delete(at=START))

    outcomes = await asyncio.gather(
        *(repository.create(a_recurring_task()) for _ in range(8)), return_exceptions=True
    )

    created = [outcome for outcome in outcomes if isinstance(outcome, RecurringTask)]
    refused = [o for o in outcomes if isinstance(o, RecurringTaskAlreadyExistsError)]
    assert (len(created), len(refused)) == (1, 7)
    assert await repository.get(first.id) == created[0]


async def test_an_update_replaces_what_was_read(repository):
    stored = await repository.create(a_recurring_task())

    updated = await repository.update(stored.update(at=START, paused=True))

    assert updated.paused
    assert updated.version > stored.version
    assert await repository.get(stored.id) == updated


async def test_an_update_of_something_else_is_a_conflict(repository):
    stored = await repository.create(a_recurring_task())
    newer = await repository.update(stored)

    with pytest.raises(RecurringTaskConflictError):
        await repository.update(stored.update(at=START, paused=True))
    with pytest.raises(RecurringTaskConflictError):
        await repository.update(a_recurring_task(id="gone", version=Version(10_000, 1)))
    assert await repository.get(stored.id) == newer


async def test_of_many_updates_each_is_judged_for_itself(repository):
    stored = [await repository.create(a_recurring_task(id=f"r-{n}")) for n in range(3)]
    await repository.update(stored[1])

    first, second, third = await repository.update_all(
        [task.update(at=START, paused=True) for task in stored]
    )

    assert isinstance(second, RecurringTaskConflictError)
    assert [await repository.get(task.id) for task in (first, third)] == [first, third]
    assert first.paused
    assert third.paused


async def test_no_updates_are_no_trouble(repository):
    assert await repository.update_all([]) == []


async def test_all_are_listed_by_id_the_deleted_ones_too(repository):
    ids = ["b", "a", "B", "10", "9", "\u00e9", "e\u0301", "a b"]
    stored = [await repository.create(a_recurring_task(id=each)) for each in ids]
    stored[2] = await repository.update(stored[2].delete(at=START))

    assert await everything(repository) == sorted(stored, key=lambda task: task.id.encode())


async def test_nothing_is_listed_where_nothing_is(repository):
    assert await everything(repository) == []


async def test_changes_are_read_from_where_the_last_call_ended(repository):
    first, second = [await repository.create(a_recurring_task(id=each)) for each in "ab"]
    start = await changes(repository, ChangeMark())
    second = await repository.update(second)
    third = await repository.create(a_recurring_task(id="c"))

    then = await changes(repository, start.mark, first)
    at_last = await changes(repository, then.mark, second, third)
    nothing = await changes(repository, at_last.mark)

    assert sorted(task.id for task in start.tasks) == ["a", "b"]
    assert sorted(then.tasks, key=lambda task: task.id) == [second, third]
    assert (at_last.tasks, nothing.tasks) == ([], [])


async def test_a_change_behind_one_that_was_seen_is_not_lost(repository):
    """A search may show a write before an earlier one that is still under way."""
    mark = (await changes(repository, ChangeMark())).mark
    first, second = [await repository.create(a_recurring_task(id=each)) for each in "ab"]

    seen = await changes(repository, mark)
    again = await changes(repository, seen.mark, second)

    assert again.tasks == [first]


async def test_purged_ones_are_gone(repository):
    stored = await repository.create(a_recurring_task())
    mark = (await changes(repository, ChangeMark())).mark

    await repository.purge(stored.id, stored.version)
    await repository.purge(stored.id, stored.version)

    with pytest.raises(RecurringTaskNotFoundError):
        await repository.get(stored.id)
    assert await everything(repository) == []
    assert (await changes(repository, mark)).tasks == []
    assert await repository.create(a_recurring_task())


async def test_what_has_changed_is_not_purged(repository):
    stored = await repository.create(a_recurring_task())
    newer = await repository.update(stored)

    with pytest.raises(RecurringTaskConflictError):
        await repository.purge(stored.id, stored.version)
    assert await repository.get(stored.id) == newer
