"""Elasticsearch takes no writes for a while: its disk is full, or somebody has protected an index."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from elasticsearch import Elasticsearch
from http_calls import Caller
from leaders import Member
from processes import PATIENCE, run, running, wait_until

from tasques.embedded import Cluster
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

TASKS = 20
WATERMARKS = "cluster.routing.allocation.disk.watermark"
MORE_THAN_THERE_IS = "1000000gb"


def settings_of(url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
    }


@pytest.fixture
def client(elasticsearch_url):
    with Elasticsearch(elasticsearch_url) as client:
        yield client


@pytest.fixture
def names(prefix):
    return IndexNames(prefix)


@pytest.fixture
def server(elasticsearch_url, prefix, tmp_path):
    settings = settings_of(elasticsearch_url, prefix)
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()
        yield server
    server.assert_calm()


@pytest.fixture
def caller(server):
    return Caller(server.address())


def refusal(caller, method, path, body):
    """The code of an answer that says when to come back."""
    there = urlsplit(caller.address)
    connection = HTTPConnection(there.hostname, there.port, timeout=PATIENCE)
    worker = {"X-TASQUES-WORKER-ID": caller.worker}
    connection.request(method, path, json.dumps(body), worker)
    answer = connection.getresponse()
    said = json.load(answer)
    connection.close()
    assert answer.status == 503, said
    assert int(answer.getheader("retry-after")) > 0
    return said["code"]


def warnings(caller):
    """What the server that is ready warns of."""
    status, said = caller.call("GET", "/health/ready")
    assert status == 200, said
    return said.get("warnings", [])


def assert_refused(caller, claimed):
    """Nothing is changed, and nobody is told that it is his fault."""
    place = f"mail/{claimed['id']}"
    new = {"queue": "mail", "kind": "k"}
    assert refusal(caller, "POST", "/tasques", new) == "store_blocked"
    assert refusal(caller, "PUT", f"/tasques/done/{place}", {}) == "store_blocked"
    claim = {"queues": ["mail"], "block_for": "100ms"}
    status, said = caller.call("POST", "/tasques/claims", claim)
    assert (status, said) == (200, []) or (status, said["code"]) == (503, "store_blocked")
    assert caller.get(claimed)["state"] == "claimed"


def assert_complete(caller, claimed):
    """What had been answered is there, and can be worked on."""
    caller.tell("done", claimed)
    left = set()
    while tasks := caller.claim("mail", block_for="1s"):
        for task in tasks:
            assert task["attempted"] == 1
            caller.tell("done", task)
            left.add(task["id"])
    assert left == {f"{number}" for number in range(TASKS)} - {claimed["id"]}


def lay(caller):
    """Tasks, of which one is claimed."""
    for number in range(TASKS):
        caller.create(queue="mail", id=f"{number}")
    (claimed,) = caller.claim("mail")
    return claimed


@pytest.mark.parametrize("block", ["write", "read_only_allow_delete", "read_only"])
def test_a_protected_index_is_named_and_nothing_is_lost(server, caller, client, names, block):
    """Requests are refused until it is free again; nobody has to restart anything."""
    claimed = lay(caller)

    client.indices.put_settings(index=names.tasks_index, settings={f"index.blocks.{block}": True})
    assert_refused(caller, claimed)
    (warning,) = warnings(caller)
    assert names.tasks_alias in warning
    assert f"index.blocks.{block}" in warning

    client.indices.put_settings(index=names.tasks_index, settings={f"index.blocks.{block}": None})
    assert_complete(caller, claimed)
    assert warnings(caller) == []


def test_a_protected_archive_disturbs_nothing_else(server, caller, client, names):
    """Finished tasks wait where they are."""
    client.indices.put_settings(index=names.archive_index, settings={"index.blocks.write": True})
    claimed = lay(caller)
    assert_complete(caller, claimed)
    (warning,) = warnings(caller)
    assert names.archive_alias in warning

    server.wait_for(lambda: '"store_blocked"' in server.output, "the archiver has said so")
    assert caller.get(claimed)["state"] == "done"
    assert "archived" not in caller.get(claimed)
    client.indices.put_settings(index=names.archive_index, settings={"index.blocks.write": None})
    wait_until(lambda: caller.get(claimed).get("archived"), "it is archived")


@pytest.fixture
def strict():
    """An Elasticsearch that looks at its disk, as any but the embedded one does."""
    settings = {
        "cluster.routing.allocation.disk.threshold_enabled": True,
        "cluster.info.update.interval": "10s",
    }
    with Cluster(settings=settings) as cluster:
        yield cluster


def test_a_full_disk_is_survived_without_a_restart(strict, tmp_path):
    """Elasticsearch protects all indices by itself, and frees them when there is room again."""
    settings = settings_of(strict.urls[0], "tasques")
    run("setup", folder=tmp_path, settings=settings)
    with (
        Elasticsearch(strict.urls[0]) as client,
        running("server", folder=tmp_path, settings=settings) as server,
    ):
        caller = Caller(server.wait_until_ready())
        member = Member(server)
        member.address = caller.address
        wait_until(member.leads, "it leads")
        claimed = lay(caller)

        keep_free(client, MORE_THAN_THERE_IS)
        wait_until(lambda: warnings(caller), "the disk is said to be full", 120)
        assert_refused(caller, claimed)
        wait_until(lambda: member.leader() is None, "nobody leads who could not write")

        keep_free(client, "1b")
        wait_until(lambda: not warnings(caller), "there is room again", 120)
        assert_complete(caller, claimed)
        wait_until(member.leads, "it leads again")
        wait_until(lambda: caller.get(claimed).get("archived"), "it archives again")
    server.assert_calm()


def keep_free(client, room):
    """Have the disk count as full when there is less room."""
    levels = ("low", "high", "flood_stage")
    client.cluster.put_settings(persistent={f"{WATERMARKS}.{level}": room for level in levels})
