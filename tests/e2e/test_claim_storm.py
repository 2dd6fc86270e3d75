"""Many workers fall upon two servers; some of both are killed. Every attempt is accounted for."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import pytest
from keep_alive import KeepAlive, LostError, RefusedError
from processes import Command, run

from tasques.domain.instant import parse_instant
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

TASKS = 5_000
WORKERS = 64
KILLED_WORKERS = 8
MOST = 6  # tasks of a claim
PROCESSING_TIMEOUT = timedelta(seconds=5)
PATIENCE = 240
QUEUE = "mail"
PLACE = {"done": "done", "failed": "failed", "unclaim": "claims"}


@dataclass
class HandOut:
    """A task in the hands of a worker, as the server's answer says.

    Attributes:
        worker: the id under which it was claimed, which was used for one claim only.
        number: which attempt it is.
        ended: how it came out of these hands, as far as the worker knows; None if never.
        is_unsure: whether the worker was killed while it said so.
    """

    worker: str
    number: int
    claimed_at: datetime
    times_out_at: datetime
    ended: str | None = None
    is_unsure: bool = False

    def attempts_after(self):
        """How many attempts count when it is over."""
        after = {self.number - (self.ended == "unclaim")}
        return after | {self.number} if self.is_unsure else after

    def states_after(self):
        """What the task may be in when nobody had it since."""
        if self.is_unsure:
            return {"done", "failed", "dead"}
        return {"done"} if self.ended == "done" else {"failed", "dead"}


class Account:
    """Of every attempt, kept by the workers themselves."""

    def __init__(self):
        self.of_task = defaultdict(list)
        self.lost = set()  # ids of workers that were never told what they got
        self.too_late = 0

    def take(self, task, worker):
        """A task came into a worker's hands."""
        claim = task["last_claimed"]
        assert claim["worker_id"] == worker
        hand_out = HandOut(
            worker,
            task["attempted"],
            parse_instant(claim["claimed_at"]),
            parse_instant(claim["times_out_at"]),
        )
        for before in self.of_task[task["id"]]:
            assert before.ended is not None or before.times_out_at <= hand_out.claimed_at, (
                f"{task['id']} is in two hands: {before} and {hand_out}"
            )
            assert before.ended != "done", f"{task['id']} was done: {before}"
        self.of_task[task["id"]].append(hand_out)
        return hand_out

    @property
    def ended(self):
        """How many tasks came out of a worker's hands for good."""
        return sum(each[-1].ended in ("done", "failed") for each in self.of_task.values() if each)


class Cluster:
    """The servers, and who knows where they are."""

    def __init__(self, folder, settings):
        self._folder = folder
        self._settings = settings
        self.commands = []
        self.addresses = []

    async def start(self, count):
        self.commands = [self._start() for _ in range(count)]
        self.addresses = [
            await asyncio.to_thread(command.wait_until_ready) for command in self.commands
        ]

    async def kill_and_restart(self, number):
        self.commands[number].kill()
        self.commands[number] = self._start()
        self.addresses[number] = await asyncio.to_thread(self.commands[number].wait_until_ready)

    async def stop(self):
        for command in self.commands:
            await asyncio.to_thread(command.stop)
            command.assert_calm()

    def end(self):
        for command in self.commands:
            command.kill()

    def _start(self):
        return Command("server", folder=self._folder, settings=self._settings)


class Caller:
    """Calls a server, and another one when that is gone."""

    def __init__(self, cluster, home):
        self._cluster = cluster
        self._home = home
        self._connection = KeepAlive()

    def abort(self):
        self._connection.abort()

    async def once(self, method, path, body, worker=""):
        """Raises `LostError` if the request may have been executed, and was not answered."""
        while True:
            address = self._cluster.addresses[self._home % len(self._cluster.addresses)]
            try:
                return await self._connection.call(address, method, path, body, worker)
            except RefusedError:
                self._home += 1
                await asyncio.sleep(0.05)
            except LostError:
                self._home += 1
                raise

    async def until_answered(self, method, path, body, worker=""):
        """The answer, and whether an earlier try may have been executed."""
        is_repeated = False
        while True:
            try:
                status, said = await self.once(method, path, body, worker)
            except LostError:
                is_repeated = True
                continue
            if status != 503:
                return status, said, is_repeated
            is_repeated = True
            await asyncio.sleep(0.05)


class Worker:
    """Claims, and does what a worker may do, under a new name for each claim."""

    def __init__(self, number, cluster, account):
        self._number = number
        self._names = count()
        self._account = account
        self._random = Random(number)
        self._caller = Caller(cluster, number)

    async def run(self):
        try:
            while True:
                name = f"worker-{self._number}-{next(self._names)}"
                self._account.lost.add(name)
                for task, hand_out in await self._claim(name):
                    await self._handle(task, hand_out)
        finally:
            self._caller.abort()  # as killed: without a word

    async def _claim(self, name):
        wish = {"queues": [QUEUE], "amount": self._random.randint(1, MOST), "block_for": "1s"}
        try:
            status, said = await self._caller.once("POST", "/tasques/claims", wish, name)
        except LostError:
            return []
        if status == 503:  # it may have been written, and is undone in the background
            return []
        assert status == 200, said
        self._account.lost.discard(name)
        return [(task, self._account.take(task, name)) for task in said]

    async def _handle(self, task, hand_out):
        choice = self._random.random()
        what = "unclaim" if choice < 0.1 else "failed" if choice < 0.2 else "done"
        method = "DELETE" if what == "unclaim" else "PUT"
        path = f"/tasques/{PLACE[what]}/{QUEUE}/{task['id']}"
        hand_out.ended = what  # from now on others may have it, even before the answer
        body = {} if what != "unclaim" else None
        hand_out.is_unsure = True
        status, said, is_repeated = await self._caller.until_answered(
            method, path, body, hand_out.worker
        )
        hand_out.is_unsure = False
        if status == 200:
            return
        assert said["code"] in ("not_claimed", "not_owned_by_worker"), said
        if datetime.now(UTC) >= hand_out.times_out_at and not await self._is_so(task, hand_out):
            hand_out.ended = None  # the time-out was faster
            self._account.too_late += 1
        else:
            assert is_repeated, f"{said} although {hand_out}"

    async def _is_so(self, task, hand_out):
        """Whether what the worker said last was stored."""
        status, stored, _ = await self._caller.until_answered(
            "GET", f"/tasques/{QUEUE}/{task['id']}", None
        )
        assert status == 200
        is_timed_out = "timed_out" in str(stored["last_claimed"].get("result"))
        return stored["last_claimed"]["worker_id"] != hand_out.worker or not is_timed_out


class Tasks:
    """All of them: created over both servers, and looked at in Elasticsearch itself."""

    def __init__(self, elasticsearch, prefix, cluster):
        self._elasticsearch = elasticsearch
        self._index = IndexNames(prefix).tasks_alias
        self._caller = Caller(cluster, 0)

    def end(self):
        self._caller.abort()

    async def create(self, numbers):
        """Some with a single attempt, so that a time-out is their end."""
        tasks = [
            {
                "id": f"{number}",
                "queue": QUEUE,
                "kind": "k",
                "priority": number % 3,
                "retry_times": number % 2 * 3,
                "processing_timeout": f"{PROCESSING_TIMEOUT.total_seconds():.0f}s",
            }
            for number in numbers
        ]
        status, said, is_repeated = await self._caller.until_answered(
            "POST", "/tasques/batch", {"tasks": tasks}
        )
        assert status == 200, said
        statuses = {item["status"] for item in said["items"]}
        assert statuses == {201} or (is_repeated and statuses <= {201, 409}), statuses

    async def stored(self):
        """Every task as it is now."""
        await self._elasticsearch.indices.refresh(index=self._index)
        found = await self._elasticsearch.search(index=self._index, size=TASKS + 1)
        return [hit["_source"] for hit in found["hits"]["hits"]]

    async def are_over(self):
        """Whether nobody has one, and nobody could get one now."""
        states = Counter(task["state"] for task in await self.stored())
        return states["queued"] + states["claimed"] == 0


@pytest.fixture
async def cluster(elasticsearch_url, prefix, tmp_path):
    """Two servers."""
    settings = {
        "bind_address": "127.0.0.1:0",
        "logging.access": "false",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "3s",
        "recurring.leader_lock.leader_lock_lease": "3s",
        "recurring.leader_lock.run_interval": "200ms",
        "recurring.timed_out_tasks_reaper.run_interval": "1s",
    }
    await asyncio.to_thread(run, "setup", folder=tmp_path, settings=settings)
    cluster = Cluster(tmp_path, settings)
    try:
        await cluster.start(2)
        yield cluster
        await cluster.stop()
    finally:
        cluster.end()


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for knows no events
        await asyncio.sleep(0.05)


async def storm(cluster, tasks, account):
    """Let it all happen; ends when there is nothing left to do."""
    workers = [
        asyncio.create_task(Worker(number, cluster, account).run()) for number in range(WORKERS)
    ]
    try:
        await tasks.create(range(TASKS // 5))
        for first in range(TASKS // 5, TASKS, 100):
            await tasks.create(range(first, min(first + 100, TASKS)))
            if first % 1000 == 0:
                await until(lambda first=first: account.ended >= first // 3)
            assert not any(worker.done() for worker in workers)
        await until(lambda: account.ended >= TASKS // 2)
        for worker in workers[:KILLED_WORKERS]:
            worker.cancel()
        await cluster.kill_and_restart(0)
        while not await tasks.are_over():
            assert not any(worker.done() for worker in workers[KILLED_WORKERS:])
            await asyncio.sleep(0.5)
    finally:
        for worker in workers:
            worker.cancel()
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        tasks.end()
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}


def check(task, hand_outs, lost):
    """Compare one stored task with the account; returns its attempts that nobody was told of."""
    attempts, untold = {0}, 0
    for each in hand_outs:
        before = [number for number in attempts if number < each.number]
        assert before, f"{task['id']}: an attempt is missing: {hand_outs}"
        untold += each.number - max(before) - 1
        attempts = each.attempts_after()
    claim = task["last_claimed"]
    is_timed_out = "timed_out" in str(claim["result"])
    if claim["worker_id"] in lost:
        assert task["attempted"] - 1 in attempts
        assert is_timed_out
        return untold + 1
    last = hand_outs[-1]
    assert claim["worker_id"] == last.worker
    assert task["attempted"] in attempts
    assert task["state"] in last.states_after()
    assert is_timed_out == (last.ended is None) or last.is_unsure
    has_more = task["attempted"] <= task["retry_times"]
    assert task["state"] in {"done", "failed" if has_more else "dead"}
    return untold


async def test_a_storm_over_two_servers_is_accounted_for(cluster, elasticsearch, prefix):
    """No task is in two hands at once, none is lost or done twice, whoever is killed meanwhile."""
    account = Account()
    tasks = Tasks(elasticsearch, prefix, cluster)
    async with asyncio.timeout(PATIENCE):
        await storm(cluster, tasks, account)

    stored = await tasks.stored()
    assert sorted(int(task["id"]) for task in stored) == list(range(TASKS))
    untold = sum(check(task, account.of_task[task["id"]], account.lost) for task in stored)
    hand_outs = [each for of_task in account.of_task.values() for each in of_task]
    ends = Counter(each.ended for each in hand_outs)
    states = Counter(task["state"] for task in stored)
    assert ends["done"] - KILLED_WORKERS <= states["done"] <= ends["done"]
    assert untold <= MOST * len(account.lost)
    assert ends["unclaim"] > 0
