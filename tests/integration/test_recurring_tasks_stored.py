"""Recurring tasks on a real Elasticsearch, through a proxy that breaks requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from elasticsearch import AsyncElasticsearch
from factories import START, a_recurring_task
from proxy import answer, bulks, drop_answer, drop_request, only

from tasques.clock import SystemClock
from tasques.domain.errors import (
    RecurringTaskNotFoundError,
    StoreUnavailableError,
    UnresolvedRecurringWriteError,
)
from tasques.domain.recurring import BrokenRecurringTask, RecurringTask
from tasques.domain.recurring_ports import ChangeMark
from tasques.repository import recurring as module
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection, endpoint
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.recurring import ElasticsearchRecurringTaskRepository
from tasques.repository.setup import setup
from tasques.unique import UniqueMarks

pytestmark = pytest.mark.elasticsearch

DEADLINE = 8.0


@pytest.fixture
async def names(elasticsearch, prefix):
    names = IndexNames(prefix)
    await setup(
        elasticsearch, names=names, shards=3, replicas=0, refresh_interval=timedelta(hours=1)
    )
    return names


@pytest.fixture
async def make_repository(proxy, names):
    """Repositories behind the proxy."""
    made = []

    async def make(deadline=DEADLINE):
        client = AsyncElasticsearch([proxy.url])
        connection = Connection(client, authorization=None)
        clock = SystemClock()
        times = {"deadline": deadline, "request_timeout": 2.0}
        writer = BulkWriter(connection, limits=WriteLimits(**times), clock=clock, random=Random())
        reader = DocumentReader(
            connection, clock=clock, random=Random(), max_pending=100_000, **times
        )
        made.append((client, writer, reader))
        return ElasticsearchRecurringTaskRepository(
            alias=names.recurring_alias,
            connection=connection,
            writer=writer,
            reader=reader,
            clock=clock,
            new_write_id=UniqueMarks(),
            request_timeout=2.0,
        )

    yield make
    proxy.fault = None
    for client, writer, reader in made:
        await writer.close(0)
        await reader.close()
        await client.close()


@pytest.fixture
async def repository(make_repository):
    return await make_repository()


def some(count, **changes):
    return [a_recurring_task(id=f"{number:05}", **changes) for number in range(count)]


async def all_of(*awaitables):
    return await asyncio.gather(*awaitables, return_exceptions=True)


def kinds(outcomes):
    return Counter(type(outcome).__name__ for outcome in outcomes)


async def everything(repository):
    return [task async for page in repository.list_all() for task in page]


def unknown(_, __):
    return False


async def test_the_index_has_one_shard_whatever_the_operator_decides(elasticsearch, names):
    """The numbers by which changes are followed are in order within one shard only."""
    settings = await elasticsearch.indices.get_settings(
        index=names.recurring_index, flat_settings=True
    )

    assert settings[names.recurring_index]["settings"]["index.number_of_shards"] == "1"


async def test_a_creation_whose_answer_is_lost_succeeds(repository, proxy):
    """A create that was executed is answered as created, however often the answer is lost."""
    proxy.fault = bulks(drop_answer, 2)

    created = await all_of(*map(repository.create, some(20)))

    assert kinds(created) == {"RecurringTask": 20}
    assert await everything(repository) == created


async def test_of_two_who_take_an_id_one_has_it_whatever_is_lost(repository, proxy):
    """With lost answers too, another's recurring task is never taken for one's own."""
    proxy.fault = bulks(drop_answer, 4)
    wanted = [a_recurring_task(id=f"{number // 2}") for number in range(40)]

    created = await all_of(*map(repository.create, wanted))

    assert kinds(created) == {"RecurringTask": 20, "RecurringTaskAlreadyExistsError": 20}
    assert sorted(task.id for task in await everything(repository)) == sorted(
        task.id for task in created if isinstance(task, RecurringTask)
    )


async def test_of_many_who_take_the_place_of_deleted_ones_one_does_each(repository, proxy):
    """The id of a deleted one goes to exactly one of several, with lost answers too."""
    first = await all_of(*map(repository.create, some(10)))
    await repository.update_all([task.delete(at=START) for task in first])
    proxy.fault = bulks(drop_answer, 3)

    again = await all_of(*map(repository.create, some(10) + some(10) + some(10)))

    assert kinds(again) == {"RecurringTask": 10, "RecurringTaskAlreadyExistsError": 20}
    winners = [task for task in again if isinstance(task, RecurringTask)]
    assert await everything(repository) == sorted(winners, key=lambda task: task.id)


async def test_updates_whose_answers_are_lost_succeed(repository, proxy):
    """An update that was executed is found by its mark, and told with its version."""
    created = await all_of(*map(repository.create, some(20)))
    proxy.fault = bulks(drop_answer, 2)

    updated = await repository.update_all([task.update(at=START, paused=True) for task in created])

    assert kinds(updated) == {"RecurringTask": 20}
    assert await everything(repository) == updated


async def test_a_purge_whose_answer_is_lost_succeeds(repository, proxy):
    """What was deleted is gone, however often that has to be found out."""
    created = await repository.create(a_recurring_task())
    proxy.fault = bulks(drop_answer, 2)

    await repository.purge(created.id, created.version)

    with pytest.raises(RecurringTaskNotFoundError):
        await repository.get(created.id)


async def test_what_can_not_be_found_out_is_said(make_repository, proxy):
    """No creation, update or purge is told to have failed when it may have taken place."""
    repository = await make_repository(deadline=1.0)
    created = await repository.create(a_recurring_task())
    proxy.fault = bulks(drop_answer)

    outcomes = await all_of(
        repository.create(a_recurring_task(id="new")),
        repository.update(created),
        repository.purge(created.id, created.version),
    )

    assert kinds(outcomes) == {UnresolvedRecurringWriteError.__name__: 3}


async def test_a_purge_meets_a_creation_without_harm(repository, elasticsearch, names):
    """Who takes the id of a deleted one while it is purged gets it."""
    created = await repository.create(a_recurring_task())
    deleted = await repository.update(created.delete(at=START))

    again, _ = await all_of(
        repository.create(a_recurring_task()), repository.purge(deleted.id, deleted.version)
    )

    assert await repository.get(again.id) == again


@pytest.mark.parametrize("fault", [answer(503), drop_request])
async def test_a_list_that_is_not_whole_is_an_error(repository, proxy, fault):
    """Absence decides what is followed, so half an answer is none."""
    await repository.create(a_recurring_task())
    proxy.fault = only(lambda request: request.path.endswith("_search"), fault)

    with pytest.raises(StoreUnavailableError):
        await everything(repository)
    with pytest.raises(StoreUnavailableError):
        await repository.changed_since(ChangeMark(), unknown)


async def test_a_broken_document_disturbs_no_other(repository, elasticsearch, names):
    """What another program spoiled is shown with its reason, wherever it is met."""
    good, bad, worse = await all_of(*map(repository.create, some(3)))
    schedule = {"schedule_expression": "61 * * * *"}
    await elasticsearch.update(index=names.recurring_alias, id=bad.id, doc=schedule)
    await elasticsearch.index(index=names.recurring_alias, id=worse.id, document={"id": worse.id})

    for found in (
        await everything(repository),
        (await repository.changed_since(ChangeMark(), unknown)).tasks,
        [await repository.get(task.id) for task in (good, bad, worse)],
    ):
        by_id = {task.id: task for task in found}
        assert by_id[good.id] == good
        assert isinstance(by_id[bad.id], BrokenRecurringTask)
        assert by_id[bad.id].task.definition == bad.definition
        assert isinstance(by_id[worse.id], BrokenRecurringTask)
        assert by_id[worse.id].task is None


async def test_many_changes_are_all_read(repository, monkeypatch):
    """More changes than one search shows are read in several, and written in several parts."""
    monkeypatch.setattr(module, "_MAX_FOUND", 3)
    monkeypatch.setattr(module, "_AT_A_TIME", 4)
    created = await all_of(*map(repository.create, some(10)))
    created = await repository.update_all(created)

    changes = await repository.changed_since(ChangeMark(), unknown)
    nothing = await repository.changed_since(
        ChangeMark(changes.mark.seen, changes.mark.seen), unknown
    )

    assert sorted(changes.tasks, key=lambda task: task.id) == created
    assert nothing.tasks == []


async def test_changes_through_another_server_are_seen(make_repository):
    """What one server writes, another one reads with its next look, without a refresh interval."""
    here, there = await make_repository(), await make_repository()
    created = await here.create(a_recurring_task())
    mark = (await here.changed_since(ChangeMark(), unknown)).mark

    updated = await there.update(created.update(at=START, paused=True))
    changes = await here.changed_since(mark, lambda _, version: version == created.version)

    assert changes.tasks == [updated]


async def look(repository, mark, proxy):
    """Look for changes; what there are, and what of Elasticsearch was asked for them."""
    proxy.requests.clear()
    changes = await repository.changed_since(mark, unknown)
    return changes, [endpoint(request.path) for request in proxy.requests]


async def test_where_nothing_was_written_one_question_is_enough(make_repository, proxy):
    """The last write was seen by two looks: neither a refresh nor a search would show more."""
    here, there = await make_repository(), await make_repository()
    changes, asked = await look(here, ChangeMark(), proxy)
    assert asked == ["_stats"]

    created = await there.create(a_recurring_task())
    for _ in range(2):
        changes, asked = await look(here, changes.mark, proxy)
        assert {"_refresh", "_search"} <= set(asked)
        assert changes.tasks == [created]
    for _ in range(2):
        changes, asked = await look(here, changes.mark, proxy)
        assert asked == ["_stats"]
        assert changes.tasks == []

    updated = await there.update(created.update(at=START, paused=True))
    changes, _ = await look(here, changes.mark, proxy)
    assert changes.tasks == [updated]


async def test_a_purge_which_no_search_shows_makes_no_look_dearer_for_long(make_repository, proxy):
    """It is not asked for again and again where the answer can be of no use."""
    here, there = await make_repository(), await make_repository()
    created = await there.create(a_recurring_task(id="a"))
    await there.purge(created.id, created.version)
    mark = ChangeMark()
    for _ in range(3):
        changes, asked = await look(here, mark, proxy)
        mark = changes.mark
    assert asked == ["_refresh", "_search"]

    await there.create(a_recurring_task(id="b"))
    for _ in range(3):
        changes, asked = await look(here, mark, proxy)
        mark = changes.mark
    assert asked == ["_stats"]


@pytest.mark.parametrize("fault", [answer(403), answer(500), answer(200)])
async def test_where_the_last_write_is_not_told_changes_are_searched_for(
    make_repository, proxy, fault
):
    """As with a user that may not ask for it."""
    here, there = await make_repository(), await make_repository()
    proxy.fault = only(lambda request: "_stats" in request.path, fault)
    mark = (await here.changed_since(ChangeMark(), unknown)).mark

    created = await there.create(a_recurring_task())

    assert (await here.changed_since(mark, unknown)).tasks == [created]
