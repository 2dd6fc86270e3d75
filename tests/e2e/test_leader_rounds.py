"""Tasks flow through three servers whose leader is killed, stopped and frozen, again and again."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from http.client import HTTPException
from itertools import count, cycle, islice
from random import Random
from threading import Event, Lock, Thread
from typing import Any, Self

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from http_calls import Caller
from leaders import Servers
from processes import run, wait_until

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

ROUNDS = int(os.environ.get("TASQUES_TEST_LEADER_ROUNDS", "10"))
PEACE = 1.0  # seconds between two calamities
WORKERS = 4
BROKEN = (OSError, HTTPException, AssertionError)  # how a killed server's answers end
LAST_WORDS = {"done": "success", "failed": "failure"}


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "900ms",
        "recurring.leader_lock.leader_lock_lease": "1s",
        "recurring.leader_lock.run_interval": "200ms",
        "recurring.timed_out_tasks_reaper.run_interval": "200ms",
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
    }


@pytest.fixture
def servers(tmp_path, settings):
    run("setup", folder=tmp_path, settings=settings)
    with ExitStack() as stack:
        yield Servers(stack, tmp_path, settings)


class Flow:
    """Creates tasks, and does with them what workers do; keeps account of both.

    Attributes:
        created: ids of tasks whose creation was answered.
        unsure: ids of tasks whose creation was not.
        hands: for each task the worker of each attempt, and what became of it: `done`, `failed`,
            `silent`, or `unsure` if the server died over the answer. Each claim has a worker of
            its own.
    """

    def __init__(self, servers: Servers) -> None:
        self.created: set[str] = set()
        self.unsure: set[str] = set()
        self.hands: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
        self._servers = servers
        self._numbers = count()
        self._lock = Lock()
        self._stop = Event()
        self._faults: list[BaseException] = []
        self._threads = [Thread(target=self._run, args=(self._produce, 0))]
        self._threads += [Thread(target=self._run, args=(self._work, n)) for n in range(WORKERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._faults == []

    def _run(self, step, seed: int) -> None:
        random = Random(seed)
        try:
            while not self._stop.is_set():
                step(random)
        except BaseException as error:  # noqa: BLE001 - shown by whoever waits for the thread
            self._faults.append(error)

    def _produce(self, random: Random) -> None:
        task_id = f"{next(self._numbers)}"
        members = {"queue": "mail", "id": task_id, "retry_times": random.choice([0, 2])}
        try:
            self._servers.caller().create(**members, processing_timeout="1s")
            self.created.add(task_id)
        except (*BROKEN, IndexError):
            self.unsure.add(task_id)
        time.sleep(0.02)

    def _work(self, random: Random) -> None:
        try:
            caller = Caller(self._servers.caller().address, f"worker-{next(self._numbers)}")
            tasks = caller.claim("mail", block_for="500ms")
        except (*BROKEN, IndexError):
            return  # what it may have been given comes back by its time-out
        for task in tasks:
            end = random.choices(["done", "failed", "silent"], [5, 2, 3])[0]
            self._take(task, caller.worker, end)
            if end != "silent":
                try:
                    caller.tell(end, task, {"by": caller.worker})
                except BROKEN:
                    self._take(task, caller.worker, "unsure")

    def _take(self, task: dict[str, Any], worker: str, end: str) -> None:
        with self._lock:
            before = self.hands[task["id"]].get(task["attempted"])
            assert before is None or before[0] == worker, f"{task['id']} is in two hands"
            self.hands[task["id"]][task["attempted"]] = (worker, end)


def stored(client, alias):
    client.indices.refresh(index=alias)
    return [hit["_source"] for hit in scan(client, index=alias, size=1000)]


def test_every_task_ends_or_is_there_however_leaders_end(servers, elasticsearch_url, prefix):
    """None is lost, none is archived twice, no time-out and no attempt counts twice."""
    names = IndexNames(prefix)
    with Flow(servers) as flow:
        for kind in islice(cycle(["SIGKILL", "SIGTERM", "SIGSTOP"]), ROUNDS):
            time.sleep(PEACE)
            servers.end_leader(kind)
        time.sleep(PEACE)

    with Elasticsearch(elasticsearch_url) as client:

        def all_is_settled():
            active = stored(client, names.tasks_alias)
            return not [task for task in active if task["state"] in ("claimed", "done", "dead")]

        wait_until(all_is_settled, "time-outs are noticed, and what has ended is archived")
        for member in servers.alive():
            member.command.stop()
            member.command.assert_calm()
        active = stored(client, names.tasks_alias)
        archived = stored(client, names.archive_alias)

    tasks = {task["id"]: task for task in (*active, *archived)}
    assert Counter(task["id"] for task in (*active, *archived)).most_common(1)[0][1] == 1
    assert flow.created <= tasks.keys() <= flow.created | flow.unsure
    assert {task["state"] for task in archived} == {"done", "dead"}
    ends = Counter(end for hands in flow.hands.values() for _, end in hands.values())
    assert min(ends[end] for end in ("done", "failed", "silent")) > ROUNDS, ends
    for task in tasks.values():
        assert_accounted(task, flow.hands[task["id"]])


def assert_accounted(task, hands):
    """What is stored of a task is what its workers saw, and what nobody saw was timed out."""
    claim = task.get("last_claimed")
    if claim is None:
        assert (task["state"], task["attempted"], hands) == ("queued", 0, {})
        return
    assert max(hands, default=0) <= task["attempted"] <= task["retry_times"] + 1
    result = claim.get("result", {})
    worker, end = hands.get(task["attempted"], ("", "unseen"))
    if worker != claim["worker_id"]:
        # Its claim was never answered: it was undone, or ended by its time-out.
        assert task["state"] == "queued" or "timed_out" in result["failure"], task
        return
    assert end in ("unsure", "silent") or worker in result[LAST_WORDS[end]], task
    assert end != "silent" or "timed_out" in result["failure"], task
    is_last = task["attempted"] == task["retry_times"] + 1
    failed = "dead" if is_last else "failed"
    assert task["state"] in {"done": ["done"], "unsure": ["done", failed]}.get(end, [failed])
