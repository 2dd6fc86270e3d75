"""Workers whose server has an Elasticsearch that is slow, refuses, or loses answers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Lock

import pytest
from gates import proxied
from http_calls import Caller
from processes import PATIENCE, run, running, wait_until
from proxy import (
    answer,
    bulks,
    delay_answer,
    delay_request,
    drop_answer,
    drop_request,
    only,
    reject_items,
)

pytestmark = pytest.mark.elasticsearch

TASKS = 32
WORKERS = 8
ROUNDS = 2
FAR_TOO_LONG = 20.0  # seconds; claims ask for one, and Elasticsearch has two to answer


def now_and_then(fault, part=0.5):
    """Let a fault happen by chance, the same in each run."""
    random = Random(1)
    return only(lambda _: random.random() < part, fault)


def searches(fault):
    return only(lambda request: request.path.endswith("/_msearch"), fault)


def refreshes(fault):
    return only(lambda request: request.path.endswith("/_refresh"), fault)


FAULTS = {
    "all is slow": delay_answer(0.4),
    "some searches are rejected": searches(now_and_then(answer(429))),
    "some writes are rejected": bulks(now_and_then(answer(429))),
    "some items are rejected": bulks(now_and_then(reject_items(lambda number: number % 2 == 0))),
    "refreshes hang": refreshes(delay_answer(3.0)),
    "writes are late": bulks(now_and_then(delay_request(1.5))),
    "answers to writes are lost": bulks(now_and_then(drop_answer)),
    "connections break": now_and_then(drop_request, part=0.2),
}
OUTAGES = {
    "searches are rejected": searches(answer(429)),
    "searches hang": searches(delay_request(3.0)),
    "searches fail": searches(answer(500)),
    "all is refused": answer(503),
}


class Account:
    """What all workers were handed out, as they say themselves."""

    def __init__(self):
        self._lock = Lock()
        self.holders = {}
        self.done = set()
        self.statuses = set()

    def take(self, task, worker):
        with self._lock:
            assert task["id"] not in self.holders, "it is in the hands of two"
            assert task["id"] not in self.done, "it was done"
            assert task["attempted"] == 1
            assert task["last_claimed"]["worker_id"] == worker
            self.holders[task["id"]] = worker

    def end(self, task):
        with self._lock:
            del self.holders[task["id"]]
            self.done.add(task["id"])


class Worker:
    """One that tries again when it is told to."""

    def __init__(self, number, address, queue, account):
        self._name = f"worker-{number}"
        self._caller = Caller(address, self._name)
        self._queue = queue
        self._account = account

    def rounds(self, number):
        """Claim so many times and do what there is to do."""
        for _ in range(number):
            self.claim()

    def until_all_is_done(self):
        """Claim until nobody needs to any more."""
        until = time.monotonic() + PATIENCE
        while len(self._account.done) < TASKS:
            self.claim()
            assert time.monotonic() < until, f"only {len(self._account.done)} are done"

    def claim(self):
        begun = time.monotonic()
        status, said = self._caller.call(
            "POST", "/tasques/claims", {"queues": [self._queue], "amount": 2, "block_for": "1s"}
        )
        assert time.monotonic() - begun < FAR_TOO_LONG
        assert status in (200, 503), said
        self._account.statuses.add(status)
        if status == 503:
            assert said["code"] in ("store_unavailable", "outcome_unknown", "overloaded"), said
            return
        for task in said:
            self._account.take(task, self._name)
        for task in said:
            self._account.end(task)
            wait_until(lambda task=task: self._is_done(task), "it is done")

    def _is_done(self, task):
        """Whether the server knows; what nobody knows may have been stored, and is not twice."""
        status, said = self._caller.call("PUT", f"/tasques/done/{self._queue}/{task['id']}", {})
        if status == 503:
            return False
        assert status == 200 or said["code"] == "not_claimed", said
        return True


@pytest.fixture
def proxy(elasticsearch_url):
    with proxied(elasticsearch_url) as proxy:
        yield proxy


@pytest.fixture
def server(proxy, prefix, tmp_path):
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": proxy.url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "1s",
        "elasticsearch.write.deadline": "2s",
    }
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        yield server
    server.assert_calm()


def work(workers, what):
    """All of them at once; whoever fails, fails the test."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for outcome in [pool.submit(what, worker) for worker in workers]:
            outcome.result()


@pytest.mark.parametrize("fault", FAULTS)
def test_while_elasticsearch_is_in_trouble_no_task_is_claimed_twice_or_lost(server, proxy, fault):
    """Whoever waits gets tasks, nothing, or 503; in the end every task was handed out once."""
    address = server.wait_until_ready()
    creator, account = Caller(address), Account()
    for number in range(TASKS):
        creator.create(queue="mail", id=f"{number}")
    workers = [Worker(number, address, "mail", account) for number in range(WORKERS)]

    proxy.fault = FAULTS[fault]
    work(workers, lambda worker: worker.rounds(ROUNDS))
    proxy.fault = None
    work(workers, lambda worker: worker.until_all_is_done())

    assert account.holders == {}
    for number in range(TASKS):
        task = creator.get({"queue": "mail", "id": f"{number}"})
        assert (task["state"], task["attempted"]) == ("done", 1)


@pytest.mark.parametrize("fault", OUTAGES)
def test_while_elasticsearch_can_not_search_those_who_wait_are_told_so(server, proxy, fault):
    """An outage is an error, not an empty queue; and it is over when it is over."""
    address = server.wait_until_ready()
    created = Caller(address).create(queue="mail")
    Caller(address).create(queue="other")
    assert Caller(address).claim("other")
    account = Account()
    workers = [Worker(number, address, "empty", account) for number in range(WORKERS)]

    proxy.fault = OUTAGES[fault]
    work(workers, lambda worker: worker.rounds(2))
    proxy.fault = None

    assert account.statuses == {503}
    (claimed,) = wait_until(lambda: tasks_of(Caller(address), "mail"), "claims are served again")
    assert (claimed["id"], claimed["attempted"]) == (created["id"], 1)


def tasks_of(caller, queue):
    status, said = caller.call("POST", "/tasques/claims", {"queues": [queue], "block_for": "1s"})
    return said if status == 200 else []
