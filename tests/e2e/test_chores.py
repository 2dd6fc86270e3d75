"""What the leader does by itself, seen from outside."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from elasticsearch import Elasticsearch
from http_calls import Caller
from processes import run, running, wait_until

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

ROUNDS = 4


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "1s",
        "recurring.leader_lock.leader_lock_lease": "1s",
        "recurring.leader_lock.run_interval": "200ms",
        "recurring.timed_out_tasks_reaper.run_interval": "200ms",
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
    }


@pytest.fixture
def is_set_up(settings, tmp_path):
    run("setup", folder=tmp_path, settings=settings)


def finish(caller, queue, amount):
    """Tasks that are done."""
    for number in range(amount):
        caller.create(queue=queue, id=f"{number}")
    done = 0
    while done < amount:
        for task in caller.claim(queue):
            caller.tell("done", task)
            done += 1
    return [f"{queue}/{number}" for number in range(amount)]


def is_archived(caller, place):
    status, task = caller.call("GET", f"/tasques/{place}")
    assert status == 200
    return task.get("archived", False)


@pytest.mark.usefixtures("is_set_up")
def test_a_task_of_a_dead_worker_comes_back_and_a_done_one_is_archived(settings, tmp_path):
    """Nobody has to do anything for it."""
    with running("server", folder=tmp_path, settings=settings) as server:
        caller = Caller(server.wait_until_ready())
        caller.create(queue="mail", id="t", processing_timeout="100ms")
        caller.create(queue="mail", id="last", processing_timeout="100ms", retry_times=0)
        assert len(caller.claim("mail")) + len(caller.claim("mail")) == 2

        reaped = wait_until(
            lambda: [
                task
                for task in [caller.call("GET", "/tasques/mail/t")[1]]
                if task["state"] == "failed"
            ],
            "the time-out is noticed",
        )
        assert reaped[0]["last_claimed"]["result"]["failure"]["timed_out"]
        (place,) = finish(caller, "done", 1)
        wait_until(lambda: is_archived(caller, place), "the done task is archived")
        wait_until(lambda: is_archived(caller, "mail/last"), "the dead task is archived")
        assert caller.call("PUT", f"/tasques/done/{place}", {})[0] == 404


@pytest.mark.usefixtures("is_set_up")
def test_servers_that_are_killed_while_they_archive_double_and_lose_nothing(
    settings, elasticsearch_url, prefix, tmp_path
):
    """Killed again and again, with roll-overs in between: each task is archived once."""
    places = []
    with Elasticsearch(elasticsearch_url) as client:
        alias = IndexNames(prefix).archive_alias
        for number in range(ROUNDS):
            with running("server", folder=tmp_path, settings=settings) as server:
                caller = Caller(server.wait_until_ready())
                places += finish(caller, f"q-{number}", 40)
                server.kill()
            client.indices.rollover(alias=alias)
        with running("server", folder=tmp_path, settings=settings) as server:
            caller = Caller(server.wait_until_ready())
            for place in places:
                wait_until(lambda place=place: is_archived(caller, place), f"{place} is archived")
            server.stop(signal.SIGTERM)
        client.indices.refresh(index=alias)
        hits = client.search(index=alias, size=1000)["hits"]["hits"]

    archived = Counter(f"{hit['_source']['queue']}/{hit['_source']['id']}" for hit in hits)
    assert archived == Counter(places)
