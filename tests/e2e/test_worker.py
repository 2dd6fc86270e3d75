"""Worker processes: killed, stopped, frozen, and with a server that goes and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from elasticsearch import ConflictError, Elasticsearch
from processes import Command, run, running, wait_until

from tasques.client import Client, NewTask
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

PATIENCE = 120.0
QUEUE = "mail"
TIMEOUT = timedelta(seconds=2)
APP = """
import asyncio, os
from datetime import timedelta
from tasques.client import AsyncClient
from tasques.worker import Worker

worker = Worker(
    AsyncClient(os.environ["SERVER"]),
    queues=["mail"],
    stop_timeout=timedelta(seconds=float(os.environ.get("STOP_TIMEOUT", "20"))),
)
account = open(os.environ["ACCOUNT"], "a", buffering=1)

def note(context, what):
    account.write(f"{context.task.id} {context.task.attempted} {what}\\n")

@worker.handler("sleep")
async def sleep(context):
    note(context, "begun")
    try:
        await asyncio.sleep(context.args["seconds"])
    except asyncio.CancelledError:
        note(context, "cancelled")
        raise
    note(context, "ended")
    return {"pid": os.getpid()}
"""


@dataclass
class Bench:
    """A server and its workers."""

    folder: Path
    settings: dict[str, object]
    address: str
    elasticsearch: Elasticsearch
    prefix: str

    def server(self):
        return running("server", folder=self.folder, settings=self.settings)

    def worker(self, name, concurrency, *options, **environment):
        """A worker that keeps an account of that name."""
        return running(
            *("worker", "--app", "app:worker", "--concurrency", str(concurrency), *options),
            folder=self.folder,
            environment={"SERVER": self.address, "ACCOUNT": name} | environment,
        )

    def account(self, name):
        """What a worker did: id, attempt, what."""
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [(task_id, int(attempt), what) for task_id, attempt, what in map(str.split, lines)]

    def stored(self):
        """Every task as it is in Elasticsearch."""
        index = IndexNames(self.prefix).tasks_alias
        self.elasticsearch.indices.refresh(index=index)
        return {
            hit["_source"]["id"]: hit["_source"]
            for hit in self.elasticsearch.search(index=index, size=10_000)["hits"]["hits"]
        }

    def retry_now(self):
        """Failed tasks are due at once instead of in a quarter of a minute."""
        index = IndexNames(self.prefix).tasks_alias
        found = self.elasticsearch.search(
            index=index,
            size=10_000,
            query={"term": {"state": "failed"}},
            seq_no_primary_term=True,
        )
        for hit in found["hits"]["hits"]:
            source = hit["_source"]
            if source["run_at"] == source["metadata"]["created_at"]:
                continue
            source["run_at"] = source["due_at"] = source["metadata"]["created_at"]
            with suppress(ConflictError):
                self.elasticsearch.index(
                    index=index,
                    id=hit["_id"],
                    document=source,
                    if_seq_no=hit["_seq_no"],
                    if_primary_term=hit["_primary_term"],
                )

    def are_done(self):
        self.retry_now()
        return {task["state"] for task in self.stored().values()} == {"done"}


@pytest.fixture
def bench(elasticsearch_url, prefix, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "bind_address": f"127.0.0.1:{port}",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "1s",
        "recurring.leader_lock.leader_lock_lease": "2s",
        "recurring.leader_lock.run_interval": "200ms",
        "recurring.timed_out_tasks_reaper.run_interval": "500ms",
    }
    run("setup", folder=tmp_path, settings=settings)
    (tmp_path / "app.py").write_text(APP)
    with Elasticsearch(elasticsearch_url) as elasticsearch:
        yield Bench(tmp_path, settings, f"http://127.0.0.1:{port}", elasticsearch, prefix)


def enqueue(bench, seconds, **members):
    """Tasks that take so long."""
    with Client(bench.address) as client:
        return client.enqueue_many(
            NewTask(QUEUE, "sleep", {"seconds": each}, id=f"{number}", **members)
            for number, each in enumerate(seconds)
        )


def begun(bench, name):
    return {task_id for task_id, _, what in bench.account(name) if what == "begun"}


def test_the_tasks_of_a_killed_worker_are_finished_by_others(bench):
    """Exactly accounted: only what it was at, and had not told the server, is done again."""
    with bench.server() as server:
        server.wait_until_ready()
        tasks = enqueue(bench, [0.02 * (n % 20) for n in range(600)], processing_timeout=TIMEOUT)
        with bench.worker("victim", 20) as victim, bench.worker("heir", 20) as heir:
            victim.wait_for(lambda: len(begun(bench, "victim")) > 60, "it works", PATIENCE)
            victim.kill()
            wait_until(bench.are_done, "all are done", PATIENCE)
            pids = {victim.process.pid: "victim", heir.process.pid: "heir"}
            heir.assert_calm()
        server.assert_calm()

    stored = bench.stored()
    assert stored.keys() == {task.id for task in tasks}
    by_heir = Counter(task_id for task_id, _, what in bench.account("heir") if what == "ended")
    interrupted = 0
    for task_id, task in stored.items():
        done_by = pids[json.loads(task["last_claimed"]["result"]["success"])["pid"]]
        attempted = task["attempted"]
        assert by_heir[task_id] == (done_by == "heir"), task_id
        assert attempted == 1 or (attempted == 2 and done_by == "heir"), task
        interrupted += attempted == 2
    assert interrupted > 0


def test_a_server_may_go_and_come_back(bench):
    """Stopped and killed under a hundred busy slots: nothing is lost, no worker ends."""
    with bench.worker("one", 50) as one, bench.worker("two", 50) as two:
        for end in (Command.stop, Command.kill, Command.kill):
            with bench.server() as server:
                server.wait_until_ready()
                before = len(begun(bench, "one"))
                if not before:
                    enqueue(bench, [0.1] * 3000, processing_timeout=timedelta(seconds=5))
                one.wait_for(lambda: len(begun(bench, "one")) > before + 100, "it works", PATIENCE)  # noqa: B023 - it is called here
                end(server)
            time.sleep(1)  # they notice, and are left alone for a while
        with bench.server() as server:
            server.wait_until_ready()
            wait_until(bench.are_done, "all are done", PATIENCE)
        assert one.process.poll() is None
        assert two.process.poll() is None
        one.assert_calm()
        two.assert_calm()

    stored = bench.stored()
    assert len(stored) == 3000
    ended = Counter(
        task_id
        for name in ("one", "two")
        for task_id, _, what in bench.account(name)
        if what == "ended"
    )
    assert ended.keys() == stored.keys()


def test_a_stop_lets_running_tasks_end(bench):
    with bench.server() as server:
        server.wait_until_ready()
        enqueue(bench, [1.0] * 12)
        with bench.worker("w", 4) as worker:
            worker.wait_for(lambda: len(begun(bench, "w")) >= 4, "it works", PATIENCE)
            worker.stop(signal.SIGTERM)
            worker.assert_calm()

    ended = {task_id for task_id, _, what in bench.account("w") if what == "ended"}
    assert ended == begun(bench, "w")
    assert {task_id for task_id, task in bench.stored().items() if task["state"] == "done"} == ended
    assert {task["state"] for task in bench.stored().values()} == {"done", "queued"}


def test_a_stop_gives_back_what_takes_too_long(bench):
    with bench.server() as server:
        server.wait_until_ready()
        enqueue(bench, [100.0] * 30)
        with bench.worker("w", 30, STOP_TIMEOUT="0.5") as worker:
            worker.wait_for(lambda: len(begun(bench, "w")) == 30, "it works", PATIENCE)
            worker.stop(signal.SIGINT)
            worker.assert_calm()

    for task in bench.stored().values():
        assert task["state"] == "queued"
        assert task["attempted"] == 0


def test_a_claim_that_was_lost_cancels_the_work(bench):
    """As after a pause of the whole machine: the time is over, and others may have the task."""
    with bench.server() as server:
        server.wait_until_ready()
        enqueue(bench, [100.0], processing_timeout=TIMEOUT)
        with bench.worker("w", 4) as worker:
            worker.wait_for(lambda: begun(bench, "w"), "it works", PATIENCE)
            os.kill(worker.process.pid, signal.SIGSTOP)
            wait_until(lambda: bench.stored()["0"]["state"] == "failed", "it is reaped", PATIENCE)
            os.kill(worker.process.pid, signal.SIGCONT)
            worker.wait_for(
                lambda: ("0", 1, "cancelled") in bench.account("w"), "it is cancelled", PATIENCE
            )
            worker.stop()
            assert "claim lost" in worker.output

    assert bench.stored()["0"]["state"] == "failed"


def test_a_worker_begins_anew_when_its_program_changes(bench):
    """Also after it could not be loaded."""
    app = bench.folder / "app.py"
    with bench.worker("w", 4, "--reload") as worker:
        worker.wait_for(lambda: "worker started" in worker.output, "it runs")
        app.write_text("this is no Python")
        worker.wait_for(lambda: "does not load" in worker.output, "it has tried")
        app.write_text(APP)
        worker.wait_for(lambda: worker.output.count("worker started") == 2, "it runs again")


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("app", "'app' should be like 'module:worker'."),
        ("nowhere:worker", "There is no module 'nowhere' here."),
        ("app:nothing", "'nothing' in module 'app' is no tasques.worker.Worker."),
        ("app:APP", "'APP' in module 'app' is no tasques.worker.Worker."),
    ],
)
def test_what_is_no_worker_is_named(tmp_path, app, message):
    (tmp_path / "app.py").write_text("APP = 1")

    done = run("worker", "--app", app, folder=tmp_path, code=1)

    assert done.stderr.splitlines()[-1] == message
