"""What is in the queues, as Elasticsearch counts it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from archives import Bench
from factories import START, a_task
from fakes import FakeClock
from gates import proxied

from tasques.domain.backlog import Backlog
from tasques.domain.errors import TasquesError
from tasques.domain.ports import Lane
from tasques.repository.backlogs import ElasticsearchBacklogs
from tasques.repository.client import ClientOptions, build_client
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

NOW = START + timedelta(seconds=100)
STATES = ("scheduled", "queued", "claimed", "failed", "resting", "done", "dead")


@pytest.fixture
def make_backlogs(elasticsearch, elasticsearch_repository, prefix):
    names = IndexNames(prefix)

    def make(max_queues=100, client=elasticsearch, timeout=60.0):
        return ElasticsearchBacklogs(
            tasks_alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=Connection(client, authorization=None),
            clock=FakeClock(NOW),
            max_queues=max_queues,
            request_timeout=timeout,
        )

    return make


def instant(seconds):
    return START + timedelta(seconds=seconds)


def without_zeros(backlog):
    return backlog._replace(tasks={state: n for state, n in backlog.tasks.items() if n})


async def lay(tasks, queue, **counts):
    """Store so many tasks in each state; the n-th one that is due has been so for n seconds."""
    for state, count in counts.items():
        for number in range(1, count + 1):
            await put(tasks, queue, state, f"{state}-{number}", instant(100 - number))
    await tasks.refresh()


async def put(tasks, queue, state, task_id, due):
    new = a_task(id=task_id, queue=queue, run_at=NOW if state == "scheduled" else due)
    if state == "scheduled":
        new = new._replace(run_at=NOW + timedelta(milliseconds=1))
    stored = await tasks.create(new)
    if state in ("scheduled", "queued"):
        return
    claimed = stored.claim(worker_id="w", at=START, claim_id="c")
    last = claimed._replace(retry_times=0)
    moved = {
        "claimed": lambda: claimed,
        "failed": lambda: claimed.fail(worker_id="w", at=START, failure=None, retry_at=due),
        "resting": lambda: claimed.fail(
            worker_id="w", at=START, failure=None, retry_at=instant(200)
        ),
        "done": lambda: claimed.complete(worker_id="w", at=START, success=None),
        "dead": lambda: last.fail(worker_id="w", at=START, failure=None, retry_at=due),
    }[state]()
    await tasks.update(moved, Lane.ACKNOWLEDGE)


async def test_tasks_are_counted_by_queue_and_state(make_backlogs, elasticsearch_repository):
    counts = dict(zip(STATES, range(1, 8), strict=True))
    await lay(elasticsearch_repository, "mail", **counts)
    await lay(elasticsearch_repository, "post", done=2)
    await lay(elasticsearch_repository, "late", scheduled=1, resting=1)

    found = await make_backlogs().read()

    assert {queue: without_zeros(each) for queue, each in found.items()} == {
        "mail": Backlog(
            {"scheduled": 1, "queued": 2, "claimed": 3, "failed": 4 + 5, "done": 6, "dead": 7},
            due=2 + 4,
            oldest_due_for=4.0,
        ),
        "post": Backlog({"done": 2}),
        "late": Backlog({"scheduled": 1, "failed": 1}),
    }
    assert found["mail"].to_work_on == 2 + 4 + 3


async def test_there_may_be_no_task_at_all(make_backlogs):
    assert await make_backlogs().read() == {}


async def test_a_queue_that_became_empty_is_still_shown(
    make_backlogs, elasticsearch, elasticsearch_repository, prefix
):
    """Also by a server that has never seen a task of it, when all are archived."""
    bench = Bench(elasticsearch, elasticsearch_repository, prefix)
    await bench.lay(2, queue="mail")
    backlogs = make_backlogs()
    assert without_zeros((await backlogs.read())["mail"]) == Backlog({"done": 2})
    assert await bench.archiver().run_once() == 2
    await elasticsearch_repository.refresh()
    await elasticsearch.indices.refresh(index=bench.names.archive_alias)

    assert await backlogs.read() == {"mail": Backlog()}
    assert await make_backlogs().read() == {"mail": Backlog()}
    assert set(await make_backlogs(max_queues=0).read()) == {None}


@pytest.mark.parametrize("max_queues", [0, 1, 2, 3, 4])
async def test_queues_beyond_the_limit_are_counted_together(
    make_backlogs, elasticsearch_repository, max_queues
):
    """Those that were met first keep their names, whatever comes after them."""
    for number in range(1, 4):
        await lay(elasticsearch_repository, f"q{number}", queued=number, claimed=1)
    backlogs = make_backlogs(max_queues)
    first = await backlogs.read()
    await lay(elasticsearch_repository, "huge", queued=9, done=1)

    second = await backlogs.read()

    names = set(first) - {None}
    assert len(names) == min(max_queues, 3)
    assert names <= set(second)
    assert len(second) == max_queues + (max_queues < 4)
    for found, others in ((first, 3), (second, 9)):
        assert (None in found) == (max_queues < (3 if others == 3 else 4))
        assert found.get(None, Backlog()).oldest_due_for in (0.0, 1.0, 2.0, 3.0, 9.0)
    assert sum(each.to_work_on for each in first.values()) == 6 + 3
    assert sum(each.to_work_on for each in second.values()) == 6 + 3 + 9
    assert max(each.oldest_due_for for each in second.values()) == 9.0


async def test_a_cluster_that_is_gone_or_has_no_index_is_an_error(
    make_backlogs, elasticsearch, elasticsearch_url, prefix
):
    with proxied(elasticsearch_url) as proxy:
        options = ClientOptions(
            addresses=[proxy.url],
            user=None,
            api_key=None,
            ca_file=None,
            verify_certificates=True,
            request_timeout=1.0,
        )
        async with build_client(options) as client:
            backlogs = make_backlogs(client=client, timeout=1.0)
            assert await backlogs.read() == {}

            async def hang(_):
                raise ConnectionResetError

            proxy.fault = hang
            with pytest.raises(TasquesError, match="does not answer"):
                await backlogs.read()
    await elasticsearch.indices.delete(index=IndexNames(prefix).tasks_index)
    with pytest.raises(TasquesError, match="index_not_found"):
        await make_backlogs().read()
