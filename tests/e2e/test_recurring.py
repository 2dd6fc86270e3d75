"""Recurring tasks on three servers whose leader is killed, stopped and frozen.

TASQUES_TEST_ROUNDS says how often; ten are the whole proof, and take three minutes.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from itertools import cycle, islice, pairwise
from threading import Event, Thread

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from http_calls import Caller
from leaders import History, Servers
from processes import run, wait_until

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

ROUNDS = int(os.environ.get("TASQUES_TEST_ROUNDS", "3"))
SECOND = timedelta(seconds=1)
PEACE = 3.0  # seconds between two calamities
LONGEST_CHANGE = timedelta(seconds=15)  # of leaders, on a machine that has other things to do
KINDS = {
    "all": (20, {"misfire_policy": "fire_all"}),
    "once": (15, {"misfire_policy": "fire_once"}),
    "careful": (15, {"misfire_policy": "fire_all", "skip_if_outstanding_tasks_exist": True}),
}


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "1s",
        "recurring.leader_lock.leader_lock_lease": "1500ms",
        "recurring.leader_lock.run_interval": "300ms",
        "recurring.tasks_archiver.run_interval": "500ms",
        "recurring.tasks_archiver.archive_older_than": "5s",
    }


@pytest.fixture
def servers(tmp_path, settings):
    run("setup", folder=tmp_path, settings=settings)
    with ExitStack() as stack:
        yield Servers(stack, tmp_path, settings)


def recur(caller, name, queue="mail", expression="* * * * * *", **members):
    body = {
        "id": name,
        "schedule_expression": expression,
        "task_definition": {"queue": queue, "kind": "k"},
    }
    status, made = caller.call("POST", "/recurring_tasques", body | members)
    assert status == 201, made
    return made


class Worker:
    """Finishes tasks, through whichever server answers."""

    def __init__(self, servers: Servers, *queues: str) -> None:
        self._servers = servers
        self._stop = Event()
        self._threads = [Thread(target=self._work, args=(queue,)) for queue in queues]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, queue: str) -> None:
        while not self._stop.wait(0.05):
            # A server that is killed keeps nobody from work, nor does a refusal.
            with suppress(OSError, HTTPException, AssertionError, IndexError):
                caller = self._servers.caller()
                for task in caller.claim(queue, block_for="1s"):
                    caller.tell("done", task)


def stored_runs(url, prefix):
    """All tasks by their recurring task, in the order of their instants.

    Who is stopped while it archives leaves the task at both places, until the next one goes on.
    """
    names = IndexNames(prefix)
    stored = {}
    with Elasticsearch(url) as client:
        for alias in (names.tasks_alias, names.archive_alias):
            client.indices.refresh(index=alias)
            for hit in scan(client, index=alias, size=1000):
                stored[hit["_source"]["incarnation"]] = hit["_source"]
    runs = defaultdict(list)
    for task in stored.values():
        runs[task["recurring_task_id"]].append(task)
    for of_one in runs.values():
        of_one.sort(key=instant)
    return runs


def instant(run):
    return datetime.fromisoformat(run["scheduled_for"])


def seconds_between(first, last):
    return [first + number * SECOND for number in range(int((last - first) / SECOND) + 1)]


def test_each_instant_fires_once_however_leaders_end(servers, elasticsearch_url, prefix, settings):
    """Proved from what is stored: nothing twice, nothing lost, never two outstanding."""
    caller = servers.caller()
    since = {}
    for kind, (count, members) in KINDS.items():
        for number in range(count):
            made = recur(caller, f"{kind}-{number}", queue=kind, **members)
            since[made["id"]] = datetime.fromisoformat(made["metadata"]["created_at"])

    with History(elasticsearch_url, prefix) as history, Worker(servers, "careful", "all"):
        for kind in islice(cycle(["SIGKILL", "SIGTERM", "SIGSTOP"]), ROUNDS):
            time.sleep(PEACE)
            servers.end_leader(kind)
        time.sleep(PEACE)
        until = datetime.now(UTC).replace(microsecond=0)
        servers.leader()
        time.sleep(PEACE)  # so that what was due by then has been dealt with
    for member in servers.alive():
        member.command.stop()
        member.command.assert_calm()

    runs = stored_runs(elasticsearch_url, prefix)
    assert runs.keys() == since.keys()
    terms = [datetime.fromisoformat(lease["since"]) for lease in history.seen.values()]
    for name, of_one in runs.items():
        instants = [instant(run) for run in of_one]
        assert len(instants) == len(set(instants)), f"{name} fired twice"
        first = (since[name] + SECOND).replace(microsecond=0)
        missing = set(seconds_between(first, until)) - set(instants)
        if name.startswith("all"):
            assert not missing, name
        if name.startswith("once"):
            assert not [one for one in missing if not is_in_gap(one, terms)], name
        if name.startswith("careful"):
            assert len(of_one) > 1
            assert_never_two_outstanding(of_one)


def is_in_gap(one, terms):
    """Whether a new leader took over soon after an instant, which may have been coalesced."""
    return any(one <= began + SECOND and began - one < LONGEST_CHANGE for began in terms)


def assert_never_two_outstanding(runs):
    for before, after in pairwise(runs):
        assert before["state"] == "done", before
        finished_at = datetime.fromisoformat(before["last_claimed"]["result"]["at"])
        assert finished_at <= datetime.fromisoformat(after["metadata"]["created_at"]), after["id"]


def test_changes_through_any_server_rule_within_seconds(servers):
    """A schedule is followed, a pause and a deletion obeyed, whoever was told and whoever leads."""
    leader = servers.leader()
    follower = next(member for member in servers.alive() if member is not leader)
    for member in (leader, follower):
        caller = Caller(member.address)
        name = f"of-{member.pid}"
        recur(caller, name, queue=name)
        assert caller.claim(name)[0]["recurring_task_id"] == name

        status, paused = caller.call("PUT", f"/recurring_tasques/{name}", {"paused": True})
        assert status == 200, paused
        paused_at = datetime.fromisoformat(paused["metadata"]["modified_at"])
        assert after(caller, name, paused_at) == []

        status, _ = caller.call("PUT", f"/recurring_tasques/{name}", {"paused": False})
        assert status == 200
        assert wait_until(lambda c=caller, n=name: c.claim(n, "1s"), "it goes on")
        status, deleted = caller.call("DELETE", f"/recurring_tasques/{name}")
        assert status == 200, deleted
        deleted_at = datetime.now(UTC)
        assert after(caller, name, deleted_at) == []


def after(caller, name, at):
    """What is claimed within a few seconds that stands for an instant after that one."""
    claimed = []
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        claimed += caller.claim(name, block_for="500ms")
    return [task for task in claimed if instant(task) > at]
