from __future__ import annotations

from random import Random

import pytest
from archives import Bench
from factories import START, a_definition, a_recurring_task, a_task

from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError
from tasques.domain.firing import run_of
from tasques.domain.ports import Lane
from tasques.domain.recurring import PendingTask
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.runs import ElasticsearchRunRepository

pytestmark = pytest.mark.elasticsearch

PATIENCE = 60.0  # seconds; what is slow here is the machine
LONGEST_ID = "\u00e9" * 165  # 330 bytes


@pytest.fixture
async def runs(elasticsearch, elasticsearch_archive, prefix):
    """Runs among the tasks of `elasticsearch_repository`, which is refreshed by nobody else."""
    names = IndexNames(prefix)
    connection = Connection(elasticsearch, authorization=None)
    reader = DocumentReader(
        connection,
        clock=SystemClock(),
        random=Random(),
        deadline=PATIENCE,
        request_timeout=PATIENCE,
        max_pending=1000,
    )
    yield ElasticsearchRunRepository(
        tasks_alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=connection,
        reader=reader,
        request_timeout=PATIENCE,
    )
    await reader.close()


def pending(task, queue="mail"):
    return PendingTask(queue=queue, task_id=task.task_id(START), instant=START)


async def in_state(tasks, state, task):
    """Store a task, and have it in a state."""
    stored = await tasks.create(task)
    if state == "queued":
        return stored
    claimed = stored.claim(worker_id="w", at=START, claim_id="c")
    moved = {
        "claimed": lambda: claimed,
        "failed": lambda: claimed.fail(worker_id="w", at=START, failure=None, retry_at=START),
        "done": lambda: claimed.complete(worker_id="w", at=START, success=None),
        "dead": lambda: claimed._replace(retry_times=0).fail(
            worker_id="w", at=START, failure=None, retry_at=START
        ),
    }[state]()
    assert moved.state == state
    return await tasks.update(moved, Lane.ACKNOWLEDGE)


async def test_a_run_exists_from_its_creation_on(runs, elasticsearch_repository):
    """Without any refresh, in its queue and in no other."""
    task = a_recurring_task()
    await elasticsearch_repository.create(run_of(task, pending(task), at=START))

    asked = [pending(task), pending(task, "post"), pending(a_recurring_task(id="other"))]

    assert await runs.existing(asked) == {asked[0]}
    assert await runs.existing([]) == set()


async def test_a_run_exists_when_it_was_archived(
    runs, elasticsearch, elasticsearch_repository, prefix
):
    """An instant whose task was moved to the archive is not created again."""
    bench = Bench(elasticsearch, elasticsearch_repository, prefix)
    task = a_recurring_task(id=LONGEST_ID)
    await in_state(elasticsearch_repository, "done", run_of(task, pending(task), at=START))
    await elasticsearch_repository.refresh()
    assert await bench.archiver().run_once() == 1
    assert await bench.left() == 0

    assert await runs.existing([pending(task), pending(task, "post")]) == {pending(task)}


async def test_many_runs_are_looked_for_at_once(runs, elasticsearch_repository):
    """More than one request holds."""
    tasks = [a_recurring_task(id=f"r-{number}") for number in range(1200)]
    made = [run_of(task, pending(task), at=START) for task in tasks[::2]]
    await elasticsearch_repository.create_all(made)

    assert await runs.existing([pending(task) for task in tasks]) == {
        pending(task) for task in tasks[::2]
    }
    assert await runs.outstanding(tasks) == {task.id for task in tasks[::2]}


@pytest.mark.parametrize(
    ("state", "is_outstanding"),
    [("queued", True), ("claimed", True), ("failed", True), ("done", False), ("dead", False)],
)
async def test_a_run_is_outstanding_until_it_is_done_or_dead(
    runs, elasticsearch_repository, state, is_outstanding
):
    """In any queue, and although nobody refreshed the index since."""
    task = a_recurring_task(id=LONGEST_ID, definition=a_definition(queue="now"))
    await in_state(elasticsearch_repository, state, run_of(task, pending(task, "before"), at=START))
    await elasticsearch_repository.create(a_task(recurring_task_id="another"))

    expected = {task.id} if is_outstanding else set()
    assert await runs.outstanding([task, a_recurring_task(id="idle")]) == expected


async def test_nobody_is_asked_about_nothing(runs):
    """No recurring task, no refresh."""
    assert await runs.outstanding([]) == set()


async def test_a_missing_index_is_no_proof_that_nothing_is_outstanding(runs, elasticsearch, prefix):
    """Absence counts only if everything was searched."""
    names = IndexNames(prefix)
    await elasticsearch.indices.delete(index=names.tasks_index)
    with pytest.raises(StoreUnavailableError):
        await runs.outstanding([a_recurring_task()])


async def test_a_missing_archive_is_no_proof_that_nothing_was_created(runs, elasticsearch, prefix):
    """Absence counts only if everything was searched."""
    names = IndexNames(prefix)
    await elasticsearch.indices.delete(index=names.archive_index)
    with pytest.raises(StoreUnavailableError):
        await runs.existing([pending(a_recurring_task())])
