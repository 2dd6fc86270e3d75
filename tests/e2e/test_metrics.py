"""What Prometheus is shown by real servers, with one process and with two."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from gates import proxied
from http_calls import Caller
from processes import descendants, exist, run, running, wait_until
from proxy import delay_request, drop_request
from scraped import events, samples, value

pytestmark = pytest.mark.elasticsearch

TASKS = 60
CLIENTS = 6


@pytest.fixture
def server_with(elasticsearch_url, prefix, tmp_path):
    """Makes a server with so many processes; its temporary files are in `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir()
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "recurring.timed_out_tasks_reaper.run_interval": "100ms",
        "metrics.queue_interval": "1s",
    }
    run("setup", folder=tmp_path, settings=settings)

    def make(workers, **others):
        return running(
            "server",
            folder=tmp_path,
            settings=settings | {"workers": workers} | others,
            environment={"TMPDIR": str(tmp_path / "tmp")},
        )

    return make


def scrape(address):
    with urlopen(f"{address}/metrics", timeout=30) as answer:
        return answer.read().decode()


def work(caller, number):
    """Enqueue some tasks, and take each to another end; all on connections of their own."""
    queue = f"q{number}"
    for _ in range(TASKS // CLIENTS):
        caller.create(queue=queue)
    for turn in range(TASKS // CLIENTS):
        (task,) = caller.claim(queue)
        if turn % 5 == 0:
            caller.unclaim(task)
            (task,) = caller.claim(queue)
        caller.tell("reports", task)
        caller.tell("done" if turn % 2 == 0 else "failed", task)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_counts_are_exact(server_with, workers, tmp_path):
    with server_with(workers) as server:
        address = server.wait_until_ready()
        caller = Caller(address)
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(work, [caller] * CLIENTS, range(CLIENTS)))
        caller.create(queue="late", retry_times=0, processing_timeout="1ms")
        assert len(caller.claim("late")) == 1
        text = wait_until(lambda: _once_dead(address), "it timed out")

        each = TASKS // CLIENTS
        expected = {("late", event): 1 for event in ("created", "claimed", "timed_out", "dead")}
        for number in range(CLIENTS):
            queue = f"q{number}"
            expected |= {
                (queue, "created"): each,
                (queue, "claimed"): each + each // 5,
                (queue, "unclaimed"): each // 5,
                (queue, "done"): each // 2,
                (queue, "failed"): each // 2,
            }
        assert events(text) == expected
        for route, status, count in (
            ("/tasques", "201", TASKS + 1),
            ("/tasques/reports/{queue}/{id}", "200", TASKS),
            ("/tasques/done/{queue}/{id}", "200", TASKS // 2),
            ("/tasques/failed/{queue}/{id}", "200", TASKS // 2),
        ):
            method = "POST" if route == "/tasques" else "PUT"
            labels = {"method": method, "route": route, "status": status}
            assert value(text, "tasques_http_request_duration_seconds_count", labels) == count
        claims = TASKS + TASKS // 5 + 1
        name = "tasques_claim_request_duration_seconds_count"
        assert value(text, name, {"status": "200"}) == claims
        assert value(text, "tasques_task_wait_seconds_count", {"queue": "q0"}) == each + each // 5
        in_queues = {("late", "dead"): 1}
        for number in range(CLIENTS):
            in_queues |= {(f"q{number}", state): each // 2 for state in ("done", "failed")}
        wait_until(lambda: depths(scrape(address)) == in_queues, "they are counted, once")
        wait_until(lambda: chores(scrape(address)) == {"reaper": 1}, "the pass is over")
        wait_until(lambda: value(scrape(address), "tasques_leader") == 1, "one leads")
        with caller.parked("nothing", 3):
            wait_until(lambda: value(scrape(address), "tasques_parked_claims") == 3, "3 wait")
        wait_until(lambda: value(scrape(address), "tasques_parked_claims") == 0, "none waits")
        server.assert_calm()
    assert list((tmp_path / "tmp").iterdir()) == []


def depths(text):
    """How many tasks are in a queue and a state, where there are any."""
    return {
        (dict(labels)["queue"], dict(labels)["state"]): value
        for (name, labels), value in samples(text).items()
        if name == "tasques_queue_depth" and value
    }


def chores(text):
    """What chores have done, where they have done anything."""
    return {
        dict(labels)["chore"]: number
        for (name, labels), number in samples(text).items()
        if name == "tasques_chore_items_total" and number
    }


def test_runs_of_recurring_tasks_are_counted_with_their_lag(server_with):
    with server_with(2) as server:
        caller = Caller(server.wait_until_ready())
        definition = {"queue": "q", "kind": "k"}
        each_second = {"schedule_expression": "@every 1s", "task_definition": definition}
        status, _ = caller.call("POST", "/recurring_tasques", {"id": "r"} | each_second)
        assert status == 201
        wait_until(lambda: _made(scrape(caller.address)) >= 3, "three are enqueued")
        status, _ = caller.call("PUT", "/recurring_tasques/r", {"paused": True})
        assert status == 200

        def consistent():
            """Once the pass in which the last one was enqueued is over."""
            text = scrape(caller.address)
            return text if chores(text) == {"scheduler": _made(text)} else None

        text = wait_until(consistent, "the scheduler has counted them")
        assert value(text, "tasques_schedule_lag_seconds_count") == _made(text)
        server.assert_calm()


def _made(text):
    return events(text).get(("q", "created"), 0)


def _once_dead(address):
    text = scrape(address)
    return text if ("late", "dead") in events(text) else None


def test_a_process_that_was_killed_leaves_its_counts_and_no_claims_that_wait(server_with):
    with server_with(2) as server:
        address = server.wait_until_ready()
        caller = Caller(address)
        for _ in range(10):
            caller.create(queue="q")
        with caller.parked("nothing", 4):
            wait_until(lambda: value(scrape(address), "tasques_parked_claims") == 4, "4 wait")
            for pid, _ in descendants(server.process.pid):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _parked(address) == 0, "the claims are gone")

        assert events(scrape(address))["q", "created"] == 10


def _parked(address):
    try:
        return value(scrape(address), "tasques_parked_claims")
    except OSError:  # nobody listens yet
        return None


@pytest.mark.parametrize("fault", [drop_request, delay_request(60.0)], ids=["gone", "hangs"])
def test_figures_are_shown_while_elasticsearch_does_not_answer(
    server_with, elasticsearch_url, fault
):
    with (
        proxied(elasticsearch_url) as proxy,
        server_with(1, **{"elasticsearch.addresses": proxy.url}) as server,
    ):
        address = server.wait_until_ready()
        Caller(address).create(queue="q")
        wait_until(lambda: depths(scrape(address)) == {("q", "queued"): 1}, "it is counted")
        proxy.fault = fault
        told = "the queues can not be counted"
        wait_until(lambda: scrape(address) and told in server.output, "it was missed")

        assert events(scrape(address)) == {("q", "created"): 1}

        proxy.fault = None
        told = "the queues can be counted again"
        wait_until(lambda: scrape(address) and told in server.output, "it is back")


def test_a_server_removes_what_a_killed_one_left(server_with, tmp_path):
    with server_with(2) as killed:
        killed.wait_until_ready()
        children = descendants(killed.process.pid)
        (left,) = (tmp_path / "tmp").iterdir()
        killed.kill()
        wait_until(lambda: not exist(children), "its children have ended")
        assert left.exists()

    with server_with(2) as server:
        server.wait_until_ready()
        assert len(list((tmp_path / "tmp").iterdir())) == 1
        assert not left.exists()
    assert list((tmp_path / "tmp").iterdir()) == []
