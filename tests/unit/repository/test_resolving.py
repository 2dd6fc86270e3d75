from __future__ import annotations

import asyncio

import pytest
from factories import a_recurring_task, a_task

from tasques.clock import SystemClock
from tasques.domain.errors import (
    OverloadedError,
    StoreUnavailableError,
    UnresolvedRecurringWriteError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import Version
from tasques.repository import resolving
from tasques.repository.bulk import OutcomeUnknownError, WriteConflictError
from tasques.repository.reads import Found
from tasques.repository.recurring import ElasticsearchRecurringTaskRepository
from tasques.repository.resolving import Resolver, settle_all
from tasques.repository.tasks import ElasticsearchTaskRepository

BEFORE = Version(3, 1)
NOW = Version(4, 1)
PATIENCE = 60.0


class Script:
    """A writer or reader that answers what it is told to, the last thing again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def _next(self):
        self.asked += 1
        await asyncio.sleep(0)  # as every answer takes a while
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get(self, _alias, _key):
        return await self._next()

    async def submit(self, _lane, _body):
        return await self._next()


class Silent(Script):
    async def _next(self):
        await asyncio.Event().wait()


def a_resolver(reader):
    return Resolver(
        alias="tasks", reader=reader, clock=SystemClock(), unresolved=UnresolvedRecurringWriteError
    )


def soon():
    return SystemClock().monotonic() + 0.05


def some_time():
    return SystemClock().monotonic() + PATIENCE


def repositories(writer, reader):
    parts = {
        "connection": None,
        "writer": writer,
        "reader": reader,
        "clock": SystemClock(),
        "new_write_id": lambda: "mark",
        "request_timeout": PATIENCE,
    }
    return (
        ElasticsearchTaskRepository(alias="tasks", archive_alias="archive", **parts),
        ElasticsearchRecurringTaskRepository(alias="recurring", **parts),
    )


async def never():
    raise AssertionError("there is nothing to look for")


@pytest.mark.parametrize("outcome", [OverloadedError("full"), StoreUnavailableError("away")])
async def test_what_was_certainly_not_written_is_told_as_it_is(outcome):
    with pytest.raises(type(outcome), match=str(outcome)):
        await a_resolver(Script(None)).explain("id", outcome, some_time(), never)


async def test_what_may_have_been_written_is_said_to_be_unknown():
    with pytest.raises(UnresolvedRecurringWriteError):
        await a_resolver(Script(None)).explain("id", OutcomeUnknownError(), some_time(), never)


async def test_a_conflict_is_not_explained_by_reads_that_are_older_than_it():
    stale, fresh = Found({}, BEFORE), Found({}, NOW)
    nothing_first = a_resolver(Script(None, None, fresh))
    old_version_first = a_resolver(Script(stale, stale, fresh))

    assert await nothing_first.what_is_there("id") == fresh
    assert await old_version_first.what_has_changed("id", BEFORE) == fresh


async def test_what_was_changed_may_be_gone():
    assert await a_resolver(Script(Found({}, BEFORE), None)).what_has_changed("id", BEFORE) is None


@pytest.mark.parametrize(
    "reader",
    [Script(None), Script(StoreUnavailableError("away")), Silent()],
    ids=["old reads", "refused reads", "no answer"],
)
async def test_a_conflict_that_nothing_explains_in_time_is_said_to_be_unknown(reader):
    resolver = a_resolver(reader)

    with pytest.raises(UnresolvedRecurringWriteError):
        await resolver.explain(
            "id", WriteConflictError(), soon(), lambda: resolver.what_is_there("id")
        )


async def test_all_writes_are_explained_within_one_bound(monkeypatch):
    """Also when only the reads, or the repetitions of a create, have no end."""
    monkeypatch.setattr(resolving, "_MOST_SECONDS", 0.1)
    tasks, recurring = repositories(Script(WriteConflictError()), Script(None))
    _, silent = repositories(Script(WriteConflictError()), Silent())
    changed = a_recurring_task(version=BEFORE)

    for unexplained in (
        tasks.create(a_task()),
        recurring.create(a_recurring_task()),
        silent.create(a_recurring_task()),
        silent.update(changed),
        silent.purge(changed.id, BEFORE),
    ):
        with pytest.raises((UnresolvedWriteError, UnresolvedRecurringWriteError)):
            async with asyncio.timeout(PATIENCE):
                await unexplained


async def test_a_create_in_whose_way_nothing_is_any_more_is_tried_again():
    writer = Script(WriteConflictError(), WriteConflictError(), NOW)
    _, recurring = repositories(writer, Script(None))

    assert (await recurring.create(a_recurring_task())).version == NOW
    assert writer.asked == 3


async def test_a_repeated_create_that_fails_may_have_been_written_before():
    """The conflict that came first may have been the echo of a write that took place."""
    _, recurring = repositories(
        Script(WriteConflictError(), StoreUnavailableError("away")), Script(None)
    )

    with pytest.raises(UnresolvedRecurringWriteError):
        await recurring.create(a_recurring_task())


async def test_the_id_of_the_task_is_named_when_its_fate_is_unknown():
    tasks, _ = repositories(Script(OutcomeUnknownError()), Script(None))
    task = a_task(queue="mail", id="a:b", version=BEFORE)

    with pytest.raises(UnresolvedWriteError) as caught:
        await tasks.update(task, Lane.CLAIM)

    assert (caught.value.queue, caught.value.task_id) == ("mail", "a:b")


async def test_a_batch_is_settled_in_its_order_each_for_itself():
    conflict, refusal = WriteConflictError(), VersionConflictError("mail", "c")

    async def resolve(item, write_id, outcome):
        if outcome is conflict:
            return f"{item} by {write_id}"
        raise outcome

    settled = await settle_all(
        [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        [NOW, conflict, refusal, BEFORE],
        stored=lambda item, version: f"{item} at {version.seq_no}",
        resolve=resolve,
    )

    assert settled == ["a at 4", "b by 2", refusal, "d at 3"]
