"""A snapshot of servers at work, and its restoration, by the commands of the documentation."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from threading import Event, Thread

import pytest
from documented import require_curl, run_script, scripts
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from http_calls import Caller
from processes import environment_of, run, running, wait_until

from tasques.embedded import Cluster
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

NAMES = IndexNames("tasques")
CREATED = 150
ARCHIVED = 40
RUNS = 3
PAUSE = 0.01  # seconds between two tasks of a producer
WISH = {"queues": ["mail"], "block_for": "1s"}


@pytest.fixture
def cluster():
    """One of its own, where names are as in the documentation, and everything may be deleted."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def settings(cluster):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": cluster.urls[0],
        "elasticsearch.replicas": 0,
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
        "recurring.timed_out_tasks_reaper.run_interval": "1h",
    }


class Servers:
    """Two servers, again and again."""

    def __init__(self, stack, folder):
        self._stack, self._folder = stack, folder
        self._commands = []

    def start(self, settings):
        """Returns their addresses."""
        self._commands = [
            self._stack.enter_context(running("server", folder=self._folder, settings=settings))
            for _ in range(2)
        ]
        return [command.wait_until_ready() for command in self._commands]

    def stop(self):
        for command in self._commands:
            command.stop()
            command.assert_calm()


@pytest.fixture
def servers(tmp_path):
    with ExitStack() as stack:
        yield Servers(stack, tmp_path)


class Load:
    """Producers and workers, and what they were told, in its order."""

    def __init__(self, addresses, *, produces=True):
        self._callers = [Caller(address) for address in addresses]
        self._parts = (self._produce, self._work) if produces else (self._work,)
        self._is_over = Event()
        self.created = []
        self.done = []
        self.errors = []

    def __enter__(self):
        self._threads = [
            Thread(target=self._watched, args=(part, caller, number))
            for part in self._parts
            for number, caller in enumerate(self._callers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self.errors

    def _watched(self, part, caller, number):
        try:
            part(caller, number)
        except BaseException as error:
            self.errors.append(error)
            raise

    def _produce(self, caller, number):
        count = 0
        while not self._is_over.wait(PAUSE):
            task = caller.create(queue="mail", id=f"{number}-{count}", processing_timeout="10s")
            self.created.append(task["id"])
            count += 1

    def _work(self, caller, _):
        while not self._is_over.is_set():
            status, claimed = caller.call("POST", "/tasques/claims", WISH)
            if status == 503:  # nothing was claimed, as Elasticsearch is busy with other things
                continue
            assert status == 200, claimed
            for task in claimed:
                caller.tell("done", task, {"sent": task["id"]})
                self.done.append(task["id"])


def lay(caller):
    """Tasks that nobody goes on with: a claimed one, and those that are to stay as they are."""
    caller.worker = "ghost"
    for queue in ("claimed", "failed", "dead"):
        changes = {"retry_times": 0} if queue == "dead" else {}
        caller.create(queue=queue, processing_timeout="1s", **changes)
    caller.create(queue="mail", kind="later", id="scheduled", run_at="2099-01-01T00:00:00Z")
    (claimed,) = caller.claim("claimed")
    (failing,) = caller.claim("failed")
    (dying,) = caller.claim("dead")
    caller.tell("reports", claimed, {"half": True})
    kept = [caller.tell("failed", task, {"message": "no"}) for task in (failing, dying)]
    return claimed, [*kept, caller.get({"queue": "mail", "id": "scheduled"})]


def lay_recurring(caller):
    task = {"queue": "ticks", "kind": "k"}
    body = {"id": "tick", "schedule_expression": "* * * * * *", "task_definition": task}
    assert caller.call("POST", "/recurring_tasques", body)[0] == 201


def content(client, alias):
    """Queue and id of each document."""
    client.indices.refresh(index=alias)
    found = scan(client, index=alias, source=["queue", "id"])
    return [(hit["_source"]["queue"], hit["_source"]["id"]) for hit in found]


def ticks(client):
    """The instants at which the recurring task has fired, as ids of tasks."""
    return {task_id for queue, task_id in content(client, NAMES.tasks_alias) if queue == "ticks"}


def is_worked_off(client):
    """Whether nothing is left but what is for the year 2099."""
    left = {task_id for queue, task_id in content(client, NAMES.tasks_alias) if queue == "mail"}
    return left == {"scheduled"}


def content_of(task):
    """A task but for where it is: its place, and the number that Elasticsearch gives its version."""
    return task | {"archived": None, "metadata": task["metadata"] | {"version": None}}


def back_up(script, environment):
    """Run the documented script, which prints an answer for each part."""
    decoder, said = json.JSONDecoder(), run_script(script, environment)
    states = []
    while said:
        answer, end = decoder.raw_decode(said)
        states.append(answer["snapshot"]["state"])
        said = said[end:].lstrip()
    assert states == ["SUCCESS", "SUCCESS"]


def test_what_was_answered_before_a_backup_is_there_after_its_restoration(
    cluster, settings, servers, tmp_path
):
    """Each task with its state, once; claims time out, schedules go on."""
    require_curl()
    once, back_up_script, restore_script = scripts("docs/operations.md", "Backup and restore")
    environment = environment_of(settings) | {"ES": cluster.urls[0]}
    run("setup", folder=tmp_path, settings=settings)
    addresses = servers.start(settings)
    with Elasticsearch(cluster.urls[0]) as client:
        lay_recurring(Caller(addresses[0]))
        run_script(once, environment)
        with Load(addresses) as load:
            wait_until(lambda: len(load.created) >= CREATED, "there are tasks")
            wait_until(
                lambda: len(content(client, NAMES.archive_alias)) >= ARCHIVED, "some are archived"
            )
            wait_until(lambda: len(ticks(client)) >= RUNS, "the schedule has fired")
            claimed, kept = lay(Caller(addresses[1]))
            done, created = set(load.done), set(load.created)
            back_up(back_up_script, environment)
            later = len(load.created) + CREATED
            wait_until(lambda: len(load.created) >= later, "much has happened since")
        servers.stop()
        ticked = ticks(client)

        run_script(restore_script, environment)
        addresses = servers.start(
            settings | {"recurring.timed_out_tasks_reaper.run_interval": "1s"}
        )
        caller = Caller(addresses[0])

        assert created >= done
        states = {each: caller.get({"queue": "mail", "id": each})["state"] for each in created}
        assert {states[each] for each in done} == {"done"}
        for task in kept:
            assert content_of(caller.get(task)) == content_of(task)
        wait_until(lambda: caller.get(claimed)["state"] == "failed", "the claim times out")
        assert caller.get(claimed)["last_claimed"]["result"]["failure"]["timed_out"]
        wait_until(lambda: len(ticks(client) - ticked) >= RUNS, "the schedule fires further")

        with Load(addresses, produces=False):
            wait_until(lambda: is_worked_off(client), "all is done and archived")
        archived = Counter(content(client, NAMES.archive_alias))
        assert {("mail", each) for each in created} <= archived.keys()
        assert max(archived.values()) == 1
        (again,) = wait_until(lambda: caller.claim("claimed"), "what timed out is tried again")
        assert again["attempted"] == 2
    servers.stop()
