from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random

import pytest
from factories import START, a_definition, a_recurring_task
from fake_recurring import InMemoryRecurringTaskRepository
from fakes import FakeClock
from shop import Shop

from tasques.domain.errors import (
    BrokenRecurringTaskError,
    RecurringTaskAlreadyExistsError,
    RecurringTaskConflictError,
    RecurringTaskNotFoundError,
    StoreUnavailableError,
)
from tasques.domain.recurring import NewRecurringTask, PendingTask, RecurringTask
from tasques.domain.task import TaskState
from tasques.services.recurring_tasks import Change, RecurringTaskService

MINUTE = timedelta(minutes=1)
RETRIES = 3


class World:
    """A service, and what is around it."""

    def __init__(self):
        self.shop = Shop()
        self.repository = InMemoryRecurringTaskRepository()
        self.changed = []
        self.clock = FakeClock()
        numbers = count()
        self.service = RecurringTaskService(
            recurring_tasks=self.repository,
            tasks=self.shop.service,
            clock=_Hurried(self.clock),
            random=Random(1),
            new_mark=lambda: f"{next(numbers):022}",
            conflict_retries=RETRIES,
            on_changed=self.changed.append,
        )


class _Hurried:
    """A clock on which pauses take no time."""

    def __init__(self, clock):
        self.now = clock.now

    async def sleep(self, _):
        pass


@pytest.fixture
def world():
    return World()


def new(**changes):
    members = {"id": "r", "schedule_expression": "* * * * *", "definition": a_definition()}
    return NewRecurringTask(**members | changes)


async def test_what_is_made_is_there_and_whoever_follows_schedules_knows(world):
    made = await world.service.create(new(paused=True))

    assert await world.service.get("r") == made
    assert made.paused
    assert made.created_at == START
    assert world.changed == [made]


async def test_an_id_that_is_taken_is_refused_and_nobody_is_told(world):
    made = await world.service.create(new())

    with pytest.raises(RecurringTaskAlreadyExistsError):
        await world.service.create(new())
    assert world.changed == [made]


async def test_an_update_changes_what_is_given_and_is_told(world):
    made = await world.service.create(new(time_zone="Asia/Tokyo"))
    await world.clock.advance(5)

    updated = await world.service.update("r", Change(schedule_expression="@daily"))

    assert updated == await world.service.get("r")
    assert (updated.schedule_expression, updated.time_zone) == ("@daily", "Asia/Tokyo")
    assert updated.definition == made.definition
    assert updated.modified_at == updated.schedule_since == START + timedelta(seconds=5)
    assert world.changed == [made, updated]


async def test_an_update_that_meets_another_change_is_judged_again(world):
    await world.service.create(new())

    async def fire(task):
        if task.last_instant is None:
            stored = await world.repository.get("r")
            world.repository.store(stored.advance(START, pending=(), at=START))

    world.repository.before_write = fire
    updated = await world.service.update("r", Change(paused=True))

    assert updated.last_instant == START
    assert updated.paused


async def test_an_update_that_keeps_meeting_others_is_a_conflict_in_the_end(world):
    await world.service.create(new())
    tries = []

    async def interfere(task):
        tries.append(task)
        world.repository.store(await world.repository.get("r"))

    world.repository.before_write = interfere

    with pytest.raises(RecurringTaskConflictError):
        await world.service.update("r", Change(paused=True))
    assert len(tries) == RETRIES + 1
    assert len(world.changed) == 1


async def test_a_deleted_one_is_gone_for_clients_but_still_stored(world):
    await world.service.create(new())
    await world.service.create(new(id="s"))

    deleted = await world.service.delete("r")

    assert deleted.is_deleted
    assert world.changed[-1] == deleted
    assert deleted in world.repository.stored
    assert [task.id for task in await world.service.list_all()] == ["s"]
    for ask in (
        world.service.get("r"),
        world.service.delete("r"),
        world.service.update("r", Change()),
        world.service.upcoming("r", 1),
        world.service.run("r", None),
    ):
        with pytest.raises(RecurringTaskNotFoundError):
            await ask


async def test_the_id_of_a_deleted_one_can_be_used_again(world):
    pending = (PendingTask(queue="mail", task_id="r@1", instant=START),)
    first = await world.service.create(new())
    world.repository.store(first.advance(START, pending=pending, at=START))
    await world.service.delete("r")

    again = await world.service.create(new(schedule_expression="@daily"))

    assert await world.service.get("r") == again
    assert again.incarnation != first.incarnation
    assert again.pending == pending


async def test_a_deletion_that_meets_a_firing_is_judged_again(world):
    await world.service.create(new())
    pending = (PendingTask(queue="mail", task_id="r@1", instant=START),)

    async def fire(task):
        if task.last_instant is None:
            stored = await world.repository.get("r")
            world.repository.store(stored.advance(START, pending=pending, at=START))

    world.repository.before_write = fire
    deleted = await world.service.delete("r")

    assert isinstance(deleted, RecurringTask)
    assert deleted.pending == pending


async def test_the_preview_begins_now(world):
    await world.service.create(new())
    await world.clock.advance(61)

    assert await world.service.upcoming("r", 2) == [START + 2 * MINUTE, START + 3 * MINUTE]


# ------------------------------------------------------------------ running now


async def test_a_run_enqueues_what_is_defined_even_while_paused(world):
    definition = a_definition(queue="post", kind="print", priority=3, args='{"a":1}')
    recurring = await world.service.create(new(definition=definition, paused=True))

    task = await world.service.run("r", None)

    assert (task.queue, task.kind, task.priority, task.args) == ("post", "print", 3, '{"a":1}')
    assert task.state is TaskState.QUEUED
    assert task.recurring_task_id == "r"
    assert task.id.startswith("r@run-")
    assert world.shop.tasks.stored == [task]
    assert await world.service.get("r") == recurring


async def test_each_run_enqueues_another_task(world):
    await world.service.create(new())

    tasks = [await world.service.run("r", None) for _ in range(2)]

    assert world.shop.tasks.stored == tasks


async def test_a_run_that_is_repeated_with_its_key_is_the_same_task(world):
    await world.service.create(new())

    first = await world.service.run("r", b"key")
    again = await world.service.run("r", b"key")
    other = await world.service.run("r", b"other key")

    assert first == again
    assert first.id != other.id


async def test_a_repeated_run_finds_its_task_in_the_archive(world):
    await world.service.create(new())
    first = await world.service.run("r", b"key")
    world.shop.archive.archived[first.queue, first.id, first.incarnation] = first
    world.shop.tasks.remove(first.queue, first.id)

    again = await world.service.run("r", b"key")

    assert again.id == first.id
    assert world.shop.tasks.stored == []


async def test_a_key_means_nothing_to_a_later_recurring_task_of_that_id(world):
    await world.service.create(new())
    first = await world.service.run("r", b"key")
    await world.service.delete("r")
    await world.service.create(new())

    assert (await world.service.run("r", b"key")).id != first.id


async def test_the_id_of_a_run_fits_however_long_that_of_the_recurring_task_is(world):
    await world.service.create(new(id="r" * 330))

    for key in (None, b"k" * 512):
        assert len((await world.service.run("r" * 330, key)).id) <= 360


async def test_a_run_that_can_not_be_stored_says_so(world):
    await world.service.create(new())
    world.shop.tasks.fail_next(StoreUnavailableError("down"))

    with pytest.raises(StoreUnavailableError):
        await world.service.run("r", None)


# ------------------------------------------------------------------ broken documents


async def test_a_broken_one_is_shown_among_the_others(world):
    await world.service.create(new())
    await world.service.create(new(id="s"))
    world.repository.break_document("r")

    broken, good = await world.service.list_all()

    assert (broken.id, broken.reason) == ("r", "broken by a test")
    assert good.id == "s"
    assert await world.service.get("r") == broken


async def test_a_broken_one_can_be_deleted(world):
    await world.service.create(new())
    world.repository.break_document("r")

    await world.service.delete("r")

    assert world.repository.stored == []


async def test_an_unreadable_one_can_not_be_changed_or_run(world):
    await world.service.create(new())
    world.repository.break_document("r")

    for ask in (
        world.service.update("r", Change(schedule_expression="@daily")),
        world.service.upcoming("r", 1),
        world.service.run("r", None),
    ):
        with pytest.raises(BrokenRecurringTaskError, match="broken by a test"):
            await ask


async def test_a_broken_schedule_can_be_replaced(world):
    world.repository.store(a_recurring_task(id="r", schedule_expression="nonsense"))
    world.repository.break_document("r", is_readable=True)

    with pytest.raises(BrokenRecurringTaskError, match="schedule_expression"):
        await world.service.update("r", Change(paused=True))
    repaired = await world.service.update("r", Change(schedule_expression="@daily"))

    assert await world.service.get("r") == repaired
    assert world.changed == [repaired]


async def test_one_with_a_broken_schedule_is_deleted_like_any_other(world):
    world.repository.store(a_recurring_task(id="r", schedule_expression="nonsense"))
    world.repository.break_document("r", is_readable=True)

    deleted = await world.service.delete("r")

    assert world.repository.stored == [deleted]
    assert deleted.is_deleted
