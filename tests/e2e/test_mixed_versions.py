"""A server of this version on indices that a newer one has set up and writes into."""

from __future__ import annotations

import pytest
from elasticsearch import Elasticsearch
from http_calls import Caller
from processes import run, running, wait_until

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

NEW = "from_tomorrow"
OPAQUE = {"type": "object", "enabled": False}
SAID = {"colour": ["blue", None, {"b": 1.5}]}


@pytest.fixture
def client(elasticsearch_url):
    with Elasticsearch(elasticsearch_url) as client:
        yield client


@pytest.fixture
def names(prefix):
    return IndexNames(prefix)


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "recurring.timed_out_tasks_reaper.run_interval": "200ms",
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
    }


@pytest.fixture
def newer(client, names, settings, tmp_path):
    """What a newer version's set-up has made: our fields, and another one in every object."""
    run("setup", folder=tmp_path, settings=settings)
    for alias, index, objects in (
        (names.tasks_alias, names.tasks_index, ("metadata", "last_claimed")),
        (names.archive_alias, names.archive_index, ("metadata", "last_claimed")),
        (names.recurring_alias, names.recurring_index, ("metadata", "task_definition")),
    ):
        fields = {NEW: OPAQUE} | {name: {"properties": {NEW: OPAQUE}} for name in objects}
        if "last_claimed" in fields:
            fields["last_claimed"]["properties"]["last_report"] = {"properties": {NEW: OPAQUE}}
        (found,) = client.indices.get_index_template(name=alias)["index_templates"]
        template = {k: v for k, v in found["index_template"].items() if "_date" not in k}
        version = template["version"] + 1
        template["_meta"] = template["_meta"] | {"version": version}
        client.indices.put_index_template(name=alias, **named(template | {"version": version}))
        meta = template["_meta"]
        client.indices.put_mapping(index=index, meta=meta, properties=fields)
    return state_of(client, names)


def named(template):
    """The members of a template as the client's arguments are called."""
    return {name.removeprefix("_"): value for name, value in template.items()}


def state_of(client, names):
    found = client.indices.get_index_template(name=f"{names.prefix}*").body["index_templates"]
    templates = {each["name"]: each["index_template"]["_meta"] for each in found}
    return templates, client.indices.get_mapping(index=f"{names.prefix}*").body


@pytest.fixture
def server(newer, settings, tmp_path):
    """Started as it is in many a container, with the set-up of its own version."""
    with running("server", "--setup", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()
        yield server
        server.assert_calm()


@pytest.fixture
def caller(server):
    return Caller(server.address())


class Documents:
    """What is stored of a task, beside the server."""

    def __init__(self, client, names):
        self._client, self._names = client, names

    def lay(self, alias, document_id, *objects):
        """Write as a newer version does: into the document, and into objects in it."""
        members = {NEW: SAID}
        for path in objects:
            inner = members
            for name in path.split("."):
                inner = inner.setdefault(name, {})
            inner[NEW] = SAID
        self._client.update(index=alias, id=document_id, doc=members, retry_on_conflict=10)

    def task(self, task):
        found = self._client.get(
            index=self._names.tasks_alias, id=f"{task['queue']}:{task['id']}", realtime=True
        )
        return found["_source"]

    def archived(self, task):
        self._client.indices.refresh(index=self._names.archive_alias)
        query = {"term": {"id": task["id"]}}
        hits = self._client.search(index=self._names.archive_alias, query=query)["hits"]["hits"]
        return hits[0]["_source"] if hits else None

    def lay_claimed(self, task):
        place = f"{task['queue']}:{task['id']}"
        where = ("metadata", "last_claimed", "last_claimed.last_report")
        self.lay(self._names.tasks_alias, place, *where)


@pytest.fixture
def documents(client, names):
    return Documents(client, names)


def keeps(source, *objects):
    """Whether a document has what the newer version put in."""
    for path in ("", *objects):
        inner = source
        for name in filter(None, path.split(".")):
            inner = inner[name]
        if inner.get(NEW) != SAID:
            return False
    return True


def claimed(caller, documents, queue="q", **changes):
    """A task whose worker has reported in, and in which a newer version has left something."""
    caller.create(queue=queue, **changes)
    (task,) = caller.claim(queue)
    caller.tell("reports", task, {"half": True})
    documents.lay_claimed(task)
    return task


def test_a_set_up_of_an_older_version_leaves_all_as_the_newer_one_made_it(
    server, client, names, newer
):
    assert '"left alone: made by a newer version"' in server.output
    assert state_of(client, names) == newer


def test_a_claim_keeps_what_a_newer_version_has_put_into_the_task(caller, documents, names, client):
    task = caller.create(queue="q")
    documents.lay(names.tasks_alias, f"q:{task['id']}", "metadata")
    client.indices.refresh(index=names.tasks_alias)

    assert [each["id"] for each in caller.claim("q")] == [task["id"]]

    assert keeps(documents.task(task), "metadata")


@pytest.mark.parametrize("move", ["reports", "failed", "unclaim", "batch"])
def test_a_worker_changes_nothing_that_a_newer_version_has_put_in(caller, documents, move):
    """Also when the server had remembered the task without it."""
    task = claimed(caller, documents)

    if move == "unclaim":
        caller.unclaim(task)
    elif move == "batch":
        result = {"queue": "q", "id": task["id"], "outcome": "failed"}
        status, said = caller.call("POST", "/tasques/results/batch", {"results": [result]})
        assert status == 200, said
    else:
        caller.tell(move, task, {"half": False})

    source = documents.task(task)
    assert source["state"] == {"reports": "claimed", "unclaim": "queued"}.get(move, "failed")
    assert keeps(source, "metadata", "last_claimed")
    assert keeps(source, "last_claimed.last_report") != (move == "reports")


@pytest.mark.parametrize("ends", ["done", "reaped"])
def test_the_leader_changes_nothing_that_a_newer_version_has_put_in(caller, documents, ends):
    """Neither when it ends a claim for a silent worker, nor when it moves a task."""
    changes = {"processing_timeout": "5s", "retry_times": 0} if ends == "reaped" else {}
    task = claimed(caller, documents, **changes)
    if ends == "done":
        caller.tell("done", task)

    source = wait_until(lambda: documents.archived(task), "it is archived")

    assert source["state"] == ("dead" if ends == "reaped" else "done")
    assert keeps(source, "metadata", "last_claimed", "last_claimed.last_report")
    assert caller.get(task)["state"] == source["state"]


def test_a_recurring_task_keeps_what_a_newer_version_has_put_in(caller, documents, client, names):
    """While it fires, and when a client pauses it."""
    definition = {"queue": "ticks", "kind": "k"}
    body = {"id": "tick", "schedule_expression": "* * * * * *", "task_definition": definition}
    assert caller.call("POST", "/recurring_tasques", body)[0] == 201

    def stored():
        return client.get(index=names.recurring_alias, id="tick")["_source"]

    objects = ("metadata", "task_definition")
    documents.lay(names.recurring_alias, "tick", *objects)
    cursor = stored().get("last_instant")
    wait_until(lambda: stored().get("last_instant") not in {cursor, None}, "it has fired")
    assert keeps(stored(), *objects)

    assert caller.call("PUT", "/recurring_tasques/tick", {"paused": True})[0] == 200
    assert stored()["paused"]
    assert keeps(stored(), *objects)
