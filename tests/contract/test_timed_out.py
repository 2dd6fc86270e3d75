"""What every `TaskRepository` promises about tasks whose processing time is over."""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_task
from fakes import InMemoryTaskRepository

from tasques.domain.errors import NotLeadingError
from tasques.domain.ports import Lane

TIMEOUT = timedelta(minutes=30)
OVER = START + TIMEOUT
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture(params=["memory", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def tasks(request):
    if request.param == "memory":
        return InMemoryTaskRepository()
    return request.getfixturevalue("elasticsearch_repository")


async def lay(tasks, *new):
    stored = [await tasks.create(task) for task in new]
    await tasks.refresh()
    return stored


async def found(tasks, at=OVER):
    async with aclosing(tasks.timed_out(at)) as pages:
        return [task async for page in pages for task in page]


async def test_a_claim_is_over_at_its_instant_and_not_before(tasks):
    """A worker has all the time that was promised."""
    (task,) = await lay(tasks, a_claimed_task())

    assert await found(tasks, at=OVER - MILLISECOND) == []
    assert await found(tasks, at=OVER) == [task]


async def test_only_claims_time_out(tasks):
    """Whatever else has or had a claim is left alone."""
    claimed = a_claimed_task(id="claimed")
    worker = {"worker_id": "worker-1", "at": START}
    done = a_claimed_task(id="done").complete(**worker, success=None)
    failed = a_claimed_task(id="failed").fail(**worker, failure=None, retry_at=START)
    unclaimed = a_claimed_task(id="unclaimed").unclaim(**worker)
    reported = a_claimed_task(id="reported").report(
        worker_id="worker-1", at=START + MILLISECOND, data=None
    )
    await lay(tasks, a_task(id="queued"), claimed, done, failed, unclaimed, reported)

    assert [task.id for task in await found(tasks)] == ["claimed"]


async def test_all_are_found_the_longest_overdue_first(tasks):
    """Pages have no gaps and no doubles, whatever the instants are."""
    same = [a_claimed_task(id=f"same-{number}") for number in range(60)]
    earlier = [
        a_task(id=f"earlier-{number}").claim(
            worker_id="w", at=START - number * MILLISECOND, claim_id="c"
        )
        for number in range(60, 0, -1)
    ]
    await lay(tasks, *same, *earlier)

    ids = [task.id for task in await found(tasks)]

    assert ids[:60] == [f"earlier-{number}" for number in range(60, 0, -1)]
    assert sorted(ids[60:]) == sorted(task.id for task in same)


async def test_what_changes_between_pages_does_not_disturb_the_search(tasks):
    """The pages are those of one point in time; what is written meanwhile is judged by version."""
    await lay(tasks, *(a_claimed_task(id=f"task-{number}") for number in range(120)))

    seen = 0
    async with aclosing(tasks.timed_out(OVER)) as pages:
        async for page in pages:
            seen += len(page)
            changed = [task._replace(kind="changed") for task in page]
            assert all(task.version for task in await tasks.update_all(changed, Lane.CLAIM))
            await tasks.refresh()

    assert seen == 120


async def test_what_was_found_can_be_written(tasks):
    """Tasks come with the version that they were found in."""
    await lay(tasks, a_claimed_task())
    (task,) = await found(tasks)

    reaped = await tasks.update(task.time_out(at=OVER, retry_at=OVER), Lane.CLAIM)

    assert await tasks.get("mail", "task-1") == reaped
    assert reaped.last_claimed.result.at == OVER


async def test_a_search_may_be_left_at_any_time(tasks):
    """Who stops early costs nothing, and can begin anew."""
    await lay(tasks, *(a_claimed_task(id=f"task-{number}") for number in range(5)))

    for _ in range(3):
        async with aclosing(tasks.timed_out(OVER)) as pages:
            async for page in pages:
                assert page
                break

    assert len(await found(tasks)) == 5


@pytest.mark.elasticsearch
async def test_a_document_that_is_no_task_is_logged_and_left_out(
    elasticsearch, elasticsearch_repository, caplog
):
    """One broken document does not keep the others from being timed out."""
    tasks = elasticsearch_repository
    await lay(tasks, a_claimed_task(id="good"), a_claimed_task(id="broken"))
    await elasticsearch.update(
        index=tasks._alias, id="mail:broken", doc={"processing_timeout": None}, refresh=True
    )

    with caplog.at_level(logging.ERROR):
        assert [task.id for task in await found(tasks)] == ["good"]

    assert "mail:broken" in caplog.records[0].reason


async def test_who_may_not_write_any_more_changes_nothing(tasks):
    """A deposed leader's writes are not sent."""
    (task,) = await lay(tasks, a_claimed_task())
    reaped = task.time_out(at=OVER, retry_at=OVER)

    (outcome,) = await tasks.update_all([reaped], Lane.CLAIM, may_write=lambda: False)

    assert isinstance(outcome, NotLeadingError)
    assert await tasks.get("mail", "task-1") == task
