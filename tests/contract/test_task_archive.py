"""What every `TaskArchive` promises, the one in memory included."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_new_task, a_task
from fake_archive import InMemoryTaskArchive
from fakes import InMemoryTaskRepository

from tasques.domain.errors import NotLeadingError, TaskNotFoundError, VersionConflictError
from tasques.domain.ports import Lane
from tasques.domain.task import JsonText, Task

MILLISECOND = timedelta(milliseconds=1)
ANSWER = JsonText('{"integer":123456789012345678901234567890,"twice":1,"twice":2}')


class Stores:
    """Where tasks are, and where they go."""

    def __init__(self, tasks, archive):
        self.tasks = tasks
        self.archive = archive

    async def lay(self, *new):
        stored = [await self.tasks.create(task) for task in new]
        await self.tasks.refresh()
        return stored

    async def found(self, before=START):
        async with aclosing(self.archive.finished(before)) as pages:
            return [task async for page in pages for task in page]

    async def move(self, before=START):
        found = await self.found(before)
        assert await self.archive.store(found, may_write=yes) == [None] * len(found)
        assert await self.archive.remove(found, may_write=yes) == [None] * len(found)


@pytest.fixture(params=["memory", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def stores(request):
    if request.param == "memory":
        tasks = InMemoryTaskRepository()
        return Stores(tasks, InMemoryTaskArchive(tasks))
    return Stores(
        request.getfixturevalue("elasticsearch_repository"),
        request.getfixturevalue("elasticsearch_archive"),
    )


def yes():
    return True


def done(task_id="task-1", at=START, **changes):
    task = a_claimed_task(id=task_id, **changes)
    return task.complete(worker_id="worker-1", at=at, success=ANSWER)


async def test_tasks_are_found_from_the_instant_on_at_which_they_were_finished(stores):
    """Done and dead ones, and none too early."""
    dead = a_claimed_task(id="dead", retry_times=0).time_out(at=START, retry_at=START)
    await stores.lay(done(), dead, a_task(id="queued"), a_claimed_task(id="claimed"))

    assert await stores.found(START - MILLISECOND) == []
    assert {task.task_id for task in await stores.found(START)} == {"task-1", "dead"}


async def test_failed_tasks_are_not_finished(stores):
    """What will run again stays."""
    failed = a_claimed_task().fail(worker_id="worker-1", at=START, failure=None, retry_at=START)
    await stores.lay(failed)

    assert await stores.found() == []


async def test_a_moved_task_is_in_the_archive_as_it_was(stores):
    """Every member comes along, to the last digit, also what only a newer version knows."""
    task = done(args=ANSWER, context=ANSWER, recurring_task_id="nightly")._replace(
        unknown_members={"from_tomorrow": {"colour": "blue"}},
    )
    await stores.lay(task)

    await stores.move()

    archived = await stores.archive.get("mail", "task-1")
    assert archived.version is not None
    assert archived._replace(version=None, archived=False) == task
    assert archived.archived
    with pytest.raises(TaskNotFoundError):
        await stores.tasks.get("mail", "task-1")


async def test_a_stored_task_is_found_before_it_is_removed(stores):
    """A reader never looks in vain."""
    await stores.lay(done())

    found = await stores.found()
    await stores.archive.store(found, may_write=yes)

    assert (await stores.archive.get("mail", "task-1")).archived
    assert (await stores.tasks.get("mail", "task-1")).id == "task-1"


async def test_storing_again_changes_nothing(stores):
    """Who comes second, or begins again, finds that it is there."""
    await stores.lay(done())
    found = await stores.found()
    await stores.archive.store(found, may_write=yes)
    before = await stores.archive.get("mail", "task-1")

    assert await stores.archive.store(found, may_write=yes) == [None]

    assert await stores.archive.get("mail", "task-1") == before


async def test_a_task_that_was_changed_meanwhile_is_not_removed(stores):
    """Removal is for what was stored and for nothing else."""
    (task,) = await stores.lay(done())
    found = await stores.found()
    await stores.archive.store(found, may_write=yes)
    await stores.tasks.update(task._replace(kind="changed"), Lane.ACKNOWLEDGE)

    (error,) = await stores.archive.remove(found, may_write=yes)

    assert isinstance(error, VersionConflictError)
    assert (await stores.tasks.get("mail", "task-1")).kind == "changed"


async def test_removing_twice_leaves_alone_what_has_the_id_now(stores):
    """The id may have been used again."""
    await stores.lay(done())
    found = await stores.found()
    await stores.archive.store(found, may_write=yes)
    await stores.archive.remove(found, may_write=yes)
    again = await stores.tasks.create(a_task())

    await stores.archive.remove(found, may_write=yes)

    assert await stores.tasks.get("mail", "task-1") == again


async def test_of_a_used_id_every_task_is_archived_and_the_newest_is_read(stores):
    """An id that is only in the archive may be used again."""
    for number in range(3):
        new = a_new_task(priority=number)
        created = Task.enqueue(
            new, at=START + number * MILLISECOND, incarnation=f"incarnation-of-22-ch-{number}"
        )
        claimed = created.claim(worker_id="w", at=START, claim_id="c")
        await stores.lay(claimed.complete(worker_id="w", at=START, success=None))
        await stores.move()

    assert (await stores.archive.get("mail", "task-1")).priority == 2


async def test_what_was_never_archived_is_not_found(stores):
    """Queue and id have to be the same, in full."""
    await stores.lay(done("a:b"), done("task-10"))
    await stores.move()

    for queue, task_id in [("mail", "task-1"), ("other", "task-10"), ("mail", "a"), ("mail", "b")]:
        with pytest.raises(TaskNotFoundError):
            await stores.archive.get(queue, task_id)
    assert (await stores.archive.get("mail", "a:b")).id == "a:b"


async def test_who_may_not_write_changes_nothing(stores):
    """A deposed leader stops before its next request."""
    await stores.lay(done())
    found = await stores.found()

    with pytest.raises(NotLeadingError):
        await stores.archive.store(found, may_write=lambda: False)
    with pytest.raises(NotLeadingError):
        await stores.archive.remove(found, may_write=lambda: False)

    assert (await stores.tasks.get("mail", "task-1")).id == "task-1"
    with pytest.raises(TaskNotFoundError):
        await stores.archive.get("mail", "task-1")


async def test_nothing_to_do_is_no_trouble(stores):
    """An empty page is a page."""
    assert await stores.archive.store([], may_write=yes) == []
    assert await stores.archive.remove([], may_write=yes) == []
    assert await stores.found() == []


@pytest.mark.parametrize("task_id", ["\u00e9" * 180, "x" * 360, "a/b?c#d%20", "line\nbreak", ":"])
async def test_any_id_can_be_archived(stores, task_id):
    """Ids of every length and with every character live to their end."""
    await stores.lay(done(task_id, queue="q" * 128))

    await stores.move()

    assert (await stores.archive.get("q" * 128, task_id)).id == task_id
