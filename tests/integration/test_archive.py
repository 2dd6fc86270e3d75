from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from itertools import count

import orjson
import pytest
from archives import Bench, KilledError, archive_ids
from factories import START, a_claimed_task

from tasques.background.roller import Roller
from tasques.clock import SystemClock
from tasques.domain.errors import (
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    VersionConflictError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import JsonText
from tasques.repository.lifecycle import RolloverConditions
from tasques.repository.setup import check, setup

pytestmark = pytest.mark.elasticsearch

AT_FIVE = RolloverConditions(max_age="100d", max_primary_shard_size="50gb", max_docs=5)
SECOND = timedelta(seconds=1)


@pytest.fixture
def bench(elasticsearch, elasticsearch_repository, prefix):
    return Bench(elasticsearch, elasticsearch_repository, prefix)


# ------------------------------------------------------------------------------ the good case


async def test_many_tasks_are_moved_once_each_with_all_that_they_hold(bench):
    """10,000 tasks of several sizes end in the archive, each once, and nothing is left."""
    laid = []
    for number, size in enumerate([10] * 9 + [3000]):
        laid += await bench.lay(
            1000, queue=f"q-{number}", args=JsonText(orjson.dumps({"a": "x" * size}).decode())
        )

    assert await bench.archiver().run_once() == len(laid)

    for queue in {task.queue for task in laid}:
        assert await bench.left(queue) == 0
        of_queue = [task for task in laid if task.queue == queue]
        assert await bench.copies(queue) == archive_ids(of_queue)
    assert (await bench.archive().get("q-9", "task-7")).args == laid[-1].args


async def test_a_reader_who_asks_all_the_time_never_misses_an_archived_task(bench):
    """While tasks are moved, each of them is found at every moment."""
    laid = await bench.lay(300)
    asked = Counter()
    is_over = asyncio.Event()

    async def ask(task):
        while not is_over.is_set():
            assert await bench.is_there(task)
            asked[task.id] += 1
            await SystemClock().sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for task in laid[::20]:
            group.create_task(ask(task))
        while not all(asked[task.id] for task in laid[::20]):
            await SystemClock().sleep(0.01)
        assert await bench.archiver().run_once() == 300
        seen = asked.copy()
        while any(asked[task.id] < seen[task.id] + 2 for task in laid[::20]):
            await SystemClock().sleep(0.01)
        is_over.set()


# ------------------------------------------------------------------------------ death


@pytest.mark.parametrize("rolls_over", [False, True])
async def test_whenever_the_leader_dies_each_task_ends_in_the_archive_once(bench, rolls_over):
    """Killed after any request, with a roll-over in between or not: one copy, nothing lost."""
    for requests in count(1):
        queue = f"q-{requests}"
        laid = await bench.lay(3, queue=queue)
        bench.connection.requests_left = requests
        try:
            await bench.archiver().run_once()
        except KilledError:
            is_killed = True
        else:
            is_killed = False
        bench.connection.requests_left = -1

        for task in laid:
            assert await bench.is_there(task)
        if rolls_over:
            await bench.roll_over()
        await bench.tasks.refresh()
        await bench.archiver().run_once()

        assert await bench.left(queue) == 0
        assert await bench.copies(queue) == archive_ids(laid)
        if not is_killed:
            break
    assert requests > 5


async def test_two_leaders_at_a_time_archive_each_task_once(bench):
    """A deposed leader that does not know it yet, with roll-overs all the time, doubles nothing."""
    laid = await bench.lay(1200)

    async def roll_over_again_and_again():
        for _ in range(6):
            await bench.roll_over()

    archivers = [bench.archiver() for _ in range(3)]
    await asyncio.gather(
        roll_over_again_and_again(), *(archiver.run_once() for archiver in archivers)
    )
    await bench.archiver().run_once()

    assert await bench.left() == 0
    assert await bench.copies() == archive_ids(laid)


async def test_a_copy_that_came_late_into_an_older_index_is_the_one_that_stays(bench):
    """A try that was begun before the roll-over and ended after it is found and counts."""
    (task,) = await bench.lay(1)
    document = await bench.client.get(index=bench.names.tasks_alias, id="mail:task-0")
    (first_id,) = archive_ids([task])
    await bench.roll_over()
    await bench.client.create(
        index=bench.names.archive_index, id=first_id, document=document["_source"]
    )

    assert await bench.archiver().run_once() == 1

    await bench.client.indices.refresh(index=bench.names.archive_alias)
    answer = await bench.client.search(index=bench.names.archive_alias)
    assert [hit["_index"] for hit in answer["hits"]["hits"]] == [bench.names.archive_index]
    assert (await bench.archive().get("mail", "task-0")).incarnation == task.incarnation


# ------------------------------------------------------------------------------ refusals


async def test_a_blocked_archive_loses_nothing_and_is_caught_up_with(bench, caplog):
    """While it is write-blocked tasks stay; afterwards all are archived; the log says why."""
    laid = await bench.lay(400)
    await bench.settings(bench.names.archive_alias, **{"blocks.write": True})

    with caplog.at_level(logging.WARNING):
        assert await bench.archiver().run_once() == 0
    assert await bench.left() == 400
    (line,) = caplog.records
    assert line.code == StoreBlockedError.code
    assert "blocked" in line.examples[0]

    await bench.settings(bench.names.archive_alias, **{"blocks.write": None})
    assert await bench.archiver().run_once() == 400
    assert await bench.copies() == archive_ids(laid)


async def test_active_tasks_that_can_not_be_removed_are_archived_once_all_the_same(bench):
    """A full disk under the active index alone: copies are made once, removal comes later."""
    laid = await bench.lay(60)
    await bench.settings(bench.names.tasks_alias, **{"blocks.read_only_allow_delete": True})
    # With the flood-stage block in place documents can not be deleted either.
    assert await bench.archiver().run_once() == 0
    assert await bench.left() == 60
    assert await bench.copies() == archive_ids(laid)

    await bench.settings(bench.names.tasks_alias, **{"blocks.read_only_allow_delete": None})
    assert await bench.archiver().run_once() == 60
    assert await bench.copies() == archive_ids(laid)


async def test_a_document_that_the_archive_never_takes_stays_and_the_others_go(bench, caplog):
    """Mapping trouble and an id that is too long concern nobody else, and are named."""
    await bench.lay(100)
    for task_id, changes in {"bad-field": {"from_tomorrow": {}}, "bad-id": {}}.items():
        document = {
            "id": task_id,
            "queue": "mail",
            "state": "done",
            "incarnation": "i" * (600 if task_id == "bad-id" else 22),
            "last_claimed": {"result": {"at": "2026-03-01T00:00:00Z"}},
        }
        await bench.client.index(
            index=bench.names.tasks_alias, id=f"mail:{task_id}", document=document | changes
        )
    await bench.tasks.refresh()

    with caplog.at_level(logging.WARNING):
        assert await bench.archiver().run_once() == 100

    assert await bench.left() == 2
    (line,) = caplog.records
    assert (line.code, line.tasks) == (StoreRejectedError.code, 2)
    examples = " ".join(line.examples)
    assert "mail:bad-field" in examples
    assert "strict_dynamic_mapping_exception" in examples
    assert "mail:bad-id" in examples
    assert "512" in examples


async def test_without_its_alias_nothing_is_archived_or_made_until_a_set_up(bench):
    """No index is made by accident; the error says what to do, and afterwards all is archived."""
    laid = await bench.lay(10)
    await bench.client.indices.delete_alias(
        index=bench.names.archive_index, name=bench.names.archive_alias
    )

    with pytest.raises(StoreUnavailableError):
        await bench.archive().get("mail", "unknown")
    with pytest.raises(StoreUnavailableError, match="setup"):
        await bench.archive().roll_over()
    assert await bench.archiver().run_once() == 0

    assert not await bench.client.indices.exists(index=bench.names.archive_alias)
    assert await bench.left() == 10
    await set_up(bench)
    assert await bench.archiver().run_once() == 10
    assert await bench.copies() == archive_ids(laid)


async def test_small_requests_and_large_documents_get_along(bench):
    """A document that is larger than a request may be goes alone."""
    text = JsonText(orjson.dumps({"a": "x" * 40_000}).decode())
    laid = await bench.lay(20, args=text)

    assert await bench.archiver(bench.archive(max_bytes=10_000)).run_once() == 20

    assert await bench.copies() == archive_ids(laid)


# ------------------------------------------------------------------------------ conflicts


async def test_an_update_that_was_archived_before_its_answer_came_counts(bench):
    """A worker's `done` that landed is a success, even if the task is in the archive by now."""
    claimed = await bench.tasks.create(a_claimed_task())
    done = claimed.complete(worker_id="worker-1", at=START - SECOND, success=None)
    sent = bench.tasks._new_write_id()
    bench.tasks._new_write_id = lambda: sent
    await bench.tasks.update(done, Lane.ACKNOWLEDGE)
    await bench.tasks.refresh()
    await bench.archiver().run_once()

    again = await bench.tasks.update(done, Lane.ACKNOWLEDGE)

    assert again.state == "done"


async def test_an_update_of_somebody_elses_task_that_was_archived_is_a_conflict(bench):
    """What is in the archive is judged by its mark and not by its id."""
    claimed = await bench.tasks.create(a_claimed_task())
    done = claimed.complete(worker_id="worker-1", at=START - SECOND, success=None)
    await bench.tasks.update(done, Lane.ACKNOWLEDGE)
    await bench.tasks.refresh()
    await bench.archiver().run_once()

    with pytest.raises(VersionConflictError):
        await bench.tasks.update(done, Lane.ACKNOWLEDGE)


# ------------------------------------------------------------------------------ roll-over


async def set_up(bench):
    return await setup(
        bench.client,
        names=bench.names,
        shards=2,
        replicas=0,
        refresh_interval=timedelta(hours=1),
    )


def roller(bench, conditions=AT_FIVE):
    archive = bench.archive(conditions)
    return Roller(archive=archive, is_leader=lambda: bench.is_leader, interval=60)


async def test_the_archive_goes_on_in_a_new_index_when_a_condition_holds(bench):
    """Not before, and never from an empty index; old and new ones are read as one archive."""
    await bench.settings(bench.names.archive_alias, number_of_replicas=0)
    assert await roller(bench).run_once() == 0
    first = await bench.lay(5, queue="first")
    await bench.archiver().run_once()

    assert await roller(bench).run_once() == 1
    assert await roller(bench).run_once() == 0

    second = await bench.lay(5, queue="second")
    await bench.archiver().run_once()
    for task in (*first, *second):
        assert (await bench.archive().get(task.queue, task.id)).archived
    found = await bench.client.search(index=bench.names.archive_alias, size=10)
    indices = Counter(hit["_index"] for hit in found["hits"]["hits"])
    next_index = f"{bench.names.archive_alias}-000002"
    assert indices == {bench.names.archive_index: 5, next_index: 5}
    assert (await check(bench.client, bench.names)).problems == []
    assert not (await set_up(bench)).is_changed


async def test_age_alone_does_not_make_empty_indices(bench):
    """An archive that nothing comes into stays in its index."""
    conditions = RolloverConditions(max_age="1ms", max_primary_shard_size="50gb")

    assert await roller(bench, conditions).run_once() == 0

    await bench.lay(1)
    await bench.archiver().run_once()
    assert await roller(bench, conditions).run_once() == 1
    assert await roller(bench, conditions).run_once() == 0


async def test_a_roll_over_that_elasticsearch_refuses_tells_why_and_hinders_nothing(bench):
    """No room for more shards: the reason is in the error, and archiving goes on."""
    await bench.lay(5, queue="first")
    await bench.archiver().run_once()
    # The next name is taken, by an index without the alias.
    taken = f"{bench.names.archive_alias}-000002"
    await bench.client.indices.create(index=taken)

    with pytest.raises(StoreRejectedError, match=f"already_exists.*{taken}"):
        await roller(bench).run_once()

    laid = await bench.lay(5, queue="second")
    assert await bench.archiver().run_once() == 5
    assert await bench.copies("second") == archive_ids(laid)
    report = await set_up(bench)
    assert f"alias {bench.names.archive_alias} of {taken}" in report.repaired
    assert await roller(bench).run_once() == 0  # the newest is empty
    assert (await bench.archive().get("second", "task-0")).archived
