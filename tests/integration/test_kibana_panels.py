from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from factories import a_recurring_task, a_task
from panel_searches import kql, panel_searches

from tasques.domain.task import JsonText
from tasques.kibana.contents import saved_objects
from tasques.kibana.saved_objects import ndjson
from tasques.repository import recurring_documents
from tasques.repository.documents import to_document
from tasques.repository.indices import IndexNames
from tasques.repository.setup import setup

pytestmark = pytest.mark.elasticsearch

CHECKERS = [
    checker
    for parent in Path(__file__).parents
    if (checker := parent / "shared" / "kibana" / "check_saved_objects.py").exists()
]
SECOND = timedelta(seconds=1)


def a_life_in_each_state():
    """One task in each state, each waited for 2 seconds and worked on for 3."""
    now = datetime.now(UTC)
    begin = now - timedelta(minutes=5)

    def queued(**changes):
        times = dict.fromkeys(("created_at", "modified_at", "last_enqueued_at", "run_at"), begin)
        return a_task(**times | changes)

    def claimed(**changes):
        return queued(**changes).claim(worker_id="worker-1", at=begin + 2 * SECOND, claim_id="c")

    def failed(**changes):
        return claimed(**changes).fail(
            worker_id="worker-1",
            at=begin + 5 * SECOND,
            failure=JsonText('{"message":"no disk"}'),
            retry_at=now + timedelta(hours=1),
        )

    done = claimed().complete(worker_id="worker-1", at=begin + 5 * SECOND, success=None)
    return {
        "Scheduled": queued(run_at=now + timedelta(hours=1)),
        "Queued": queued(),
        "Processing": claimed(),
        "Will retry": failed(),
        "Done": done,
        "Dead": failed(retry_times=0),
    }


@pytest.fixture
async def objects(elasticsearch, prefix):
    """The saved objects of indices in which there is something of everything."""
    names = IndexNames(prefix)
    await setup(elasticsearch, names=names, shards=1, replicas=0, refresh_interval=SECOND)
    tasks = a_life_in_each_state()
    stored = [(names.tasks_alias, to_document(task, "w")) for task in tasks.values()]
    stored += [(names.archive_alias, to_document(tasks[state], "w")) for state in ("Done", "Dead")]
    recurring = a_recurring_task()
    stored.append((names.recurring_alias, recurring_documents.to_document(recurring, "w")))
    for alias, document in stored:
        await elasticsearch.index(index=alias, document=orjson.loads(document), refresh=True)
    return saved_objects(prefix)


def of_kind(kind, objects):
    return {each["id"]: each for each in objects if each["type"] == kind}


async def test_every_panel_shows_something_of_real_tasks(elasticsearch, objects, prefix):
    views = of_kind("index-pattern", objects)
    found = {}

    for name, dashboard in of_kind("dashboard", objects).items():
        for title, view, body in panel_searches(dashboard):
            answer = await elasticsearch.search(index=views[view]["attributes"]["title"], **body)
            assert answer["_shards"]["failed"] == 0, title
            found.setdefault((name.removeprefix(f"{prefix}-"), title), []).append(answer)

    totals = {
        panel: [each["hits"]["total"]["value"] for each in answers]
        for panel, answers in found.items()
    }
    assert all(all(each) for each in totals.values()), totals
    tiles = {title: totals["overview", title] for title in a_life_in_each_state()}
    assert tiles == {title: [1] for title in tiles}
    assert totals["overview", "Total"] == [6]
    assert totals["archive", "Total"] == [2]
    [failures] = found["archive", "Failures by kind and message"]
    [kind] = failures["aggregations"]["kind"]["buckets"]
    assert [bucket["key"] for bucket in kind["reason"]["buckets"]] == ["no disk"]
    for title, expected in (("Wait until claimed, ms", 2000), ("Run time, ms", 3000)):
        [answer] = found["archive", title]
        [*_, bucket] = answer["aggregations"]["x"]["buckets"]
        assert bucket["p50"]["values"] == {"50.0": expected}


async def test_a_control_for_queue_or_kind_does_not_hide_recurring_tasks(
    elasticsearch, objects, prefix
):
    """Kibana puts the filter of a control on all panels, whatever data they show."""
    definition = a_recurring_task().definition
    for field, value in (("queue", definition.queue), ("kind", definition.kind)):
        for wanted, count in ((value, 1), ("another", 0)):
            answer = await elasticsearch.count(
                index=f"{prefix}-recurring", query={"match_phrase": {field: wanted}}
            )
            assert answer["count"] == count


async def test_every_search_finds_the_tasks_of_its_state(elasticsearch, objects):
    views = of_kind("index-pattern", objects)
    for each in of_kind("search", objects).values():
        source = orjson.loads(each["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        [view] = each["references"]
        answer = await elasticsearch.count(
            index=views[view["id"]]["attributes"]["title"], query=kql(source["query"]["query"])
        )
        expected = 2 if each["id"].endswith("-archived") else 1
        assert answer["count"] == expected, each["id"]


@pytest.mark.skipif(not CHECKERS, reason="the checker of saved objects is not beside the project")
@pytest.mark.parametrize("oldest", ["8.12", "8.19", "9"])
async def test_a_checker_of_its_own_finds_no_fault(elasticsearch_url, objects, oldest, tmp_path):
    file = tmp_path / "tasques.ndjson"
    file.write_bytes(ndjson(objects))
    options = ["--strict", "--require-data", "--kibana", oldest, "--es", elasticsearch_url]

    checked = await asyncio.create_subprocess_exec(
        sys.executable, CHECKERS[0], file, *options, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await checked.communicate()

    assert checked.returncode == 0, output.decode()
