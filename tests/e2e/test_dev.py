"""`tasques dev`: everything by one command, and nothing left of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from http_calls import Caller
from processes import Command, descendants, exist, run, running, status_of, wait_until

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def public():
    """A directory that every account can enter; pytest closes its own, again and again."""
    with tempfile.TemporaryDirectory(prefix="tasques-test-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def taken_port():
    """A port on which somebody else listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield str(listener.getsockname()[1])


@pytest.fixture
def default_port():
    """Taken: by us, or by somebody else already."""
    try:
        listener = socket.create_server(("127.0.0.1", 8080))
    except OSError:
        yield
    else:
        with closing(listener):
            yield


def shown(what, output):
    """The address that a line of the output gives."""
    return re.search(rf"^ +{what} +(http\S+)$", output, re.MULTILINE)[1]


def nothing_is_left_of(family):
    """Whether all those processes have ended, or do so in a moment."""
    wait_until(lambda: not exist(family), "all processes ended")


def test_one_command_runs_everything(tmp_path, default_port):
    """It says where things are, serves the whole life of tasks, and ends with Ctrl-C."""
    with running("dev", "--ephemeral", folder=tmp_path) as dev:
        address = dev.wait_until_ready()
        dev.wait_for(lambda: "Ctrl-C" in dev.output, "it says how to end it")
        assert "Port 8080 is taken: using" in dev.output
        assert shown("API", dev.output) == f"{address}/tasques"
        assert status_of(shown("Swagger UI", dev.output)) == 200
        assert status_of(shown("Elasticsearch", dev.output) + "/_cluster/health") == 200

        worker = Caller(address)
        worker.create(queue="q", id="first", args={"n": 12345678901234567890})
        (task,) = worker.claim("q")
        assert task["args"] == {"n": 12345678901234567890}
        worker.tell("reports", task, {"half": True})
        worker.tell("done", task, {"whole": True})
        assert worker.get(task)["last_claimed"]["result"]["success"] == {"whole": True}

        worker.create(queue="again", retry_times=1)
        (task,) = worker.claim("again")
        assert worker.unclaim(task)["attempted"] == 0
        (task,) = worker.claim("again")
        failed = worker.tell("failed", task, {"why": "no paper"})
        assert (failed["state"], failed["attempted"]) == ("failed", 1)
        assert failed["run_at"] > failed["last_claimed"]["result"]["at"]

        worker.create(queue="once", retry_times=0)
        (task,) = worker.claim("once")
        assert worker.tell("failed", task)["state"] == "dead"

        family = descendants(dev.process.pid)
        assert family
        os.killpg(dev.process.pid, signal.SIGINT)  # to all in the foreground, as a terminal does
        dev.stop(signal.SIGINT)

    nothing_is_left_of(family)
    dev.assert_calm()


def test_data_are_kept_for_the_next_start(public, tmp_path):
    """What was stored is there after a crash; meanwhile nobody else gets the directory."""
    data = public / "data"
    arguments = ("dev", "--data", str(data))
    ports = ("--port", free_port(), "--elasticsearch-port", free_port())
    with running(*arguments, *ports, folder=tmp_path) as dev:
        task = Caller(dev.wait_until_ready()).create(queue="q", id="kept")
        refused = run(*arguments, folder=tmp_path, code=1)
        assert f"{data} is in use" in refused.stderr
        assert "Traceback" not in refused.stderr
        family = descendants(dev.process.pid)
        dev.kill()
        nothing_is_left_of(family)

    # What a start leaves that is killed while it makes this file.
    keystore = data / "node-0" / "config" / "elasticsearch.keystore"
    keystore.rename(f"{keystore}.tmp")
    with running(*arguments, *ports, folder=tmp_path) as dev:
        assert Caller(dev.wait_until_ready()).get(task) == task
        family = descendants(dev.process.pid)
        dev.stop(signal.SIGTERM)

    nothing_is_left_of(family)
    dev.assert_calm()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["at once", "starting Elasticsearch"])
def test_it_can_be_stopped_while_it_starts(tmp_path, number, moment):
    """A signal ends a start in order, too, also when it comes twice."""
    dev = Command("dev", "--ephemeral", folder=tmp_path)
    try:
        if moment == "at once":
            dev.wait_for(dev.handles_signals, "it handles signals")
        else:
            dev.wait_for(lambda: moment in dev.output, moment)
            dev.wait_for(lambda: len(descendants(dev.process.pid)) > 1, "Elasticsearch runs")
        family = descendants(dev.process.pid)
        dev.process.send_signal(number)
        dev.stop(number)
    finally:
        dev.kill()

    nothing_is_left_of(family)
    dev.assert_calm()


@pytest.mark.parametrize("option", ["--port", "--elasticsearch-port"])
def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path, taken_port, option):
    """It does not move to another port then, and says which one it is."""
    refused = run("dev", "--ephemeral", option, taken_port, folder=tmp_path, code=1)

    assert taken_port in refused.stderr
    assert "Traceback" not in refused.stderr


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return str(listener.getsockname()[1])
