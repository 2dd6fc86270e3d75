"""The processes around a server, with a shell script in its place."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasques.embedded.errors import NodeError, WrongThreadError
from tasques.embedded.process import ServerProcess
from tasques.embedded.waiting import Deadline, poll

# As the launcher does: start the server, hand it the request to end, and end with it.
LAUNCHER = "trap 'kill $!' TERM; sleep 1000 & echo ready; wait $!; wait $!"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1000 & wait $!; done"


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition):
    assert poll(lambda: condition() or None, Deadline(30)), "it did not come"


@pytest.fixture
def start(tmp_path):
    started = []

    def start_it(script, *, ready=True):
        process = ServerProcess(
            ["/bin/bash", "-c", script],
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
            log=tmp_path / "log",
            account=None,
            keep_open=2,
        )
        started.append(process)
        if ready:
            until(lambda: "ready" in process.last_lines)
        return process

    yield start_it
    for process in started:
        process.terminate()
        process.wait(0)


def test_the_server_is_the_launchers_child_and_ends_in_order(start):
    process = start(LAUNCHER)
    server = process.server_pid()

    process.terminate()
    process.wait(30)

    assert not process.running
    assert not is_alive(server)


def test_a_server_that_does_not_end_is_killed(start):
    process = start(STUBBORN)
    server = process.server_pid()

    process.terminate()
    process.wait(0.1)

    assert not process.running
    until(lambda: not is_alive(server))


def test_a_paused_server_ends_too(start):
    process = start(LAUNCHER)
    server = process.server_pid()
    os.kill(server, 19)

    process.terminate()
    process.wait(30)

    assert not is_alive(server)


def test_stopping_what_has_ended_does_nothing(start):
    process = start("echo ready")
    process.wait(30)

    process.terminate()
    process.wait(0)

    assert not process.running
    with pytest.raises(NodeError, match="runs no server"):
        process.server_pid()


def test_the_last_lines_are_those_of_this_start(start):
    start("echo old; echo ready").wait(30)

    process = start("seq 100; echo ready >&2")
    process.wait(30)

    lines = process.last_lines.splitlines()
    assert lines == [*map(str, range(77, 101)), "ready"]


def test_stack_frames_do_not_hide_the_causes(start):
    process = start(r"echo cause; for i in $(seq 50); do printf '\tat frame\n'; done; echo ready")

    assert process.last_lines.splitlines() == ["cause", "ready"]
    assert process.output.count("frame") == 50


def test_a_program_that_cannot_be_started_says_so_in_the_log(tmp_path):
    process = ServerProcess(
        ["/nonexistent"],
        cwd=tmp_path,
        environment={},
        log=tmp_path / "log",
        account=None,
        keep_open=2,
    )
    process.wait(30)

    assert "No such file or directory" in process.last_lines


def test_a_start_outside_the_main_thread_is_refused(start):
    errors = []

    def attempt():
        try:
            start(LAUNCHER)
        except WrongThreadError as error:
            errors.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()

    assert len(errors) == 1
    assert "main thread" in errors[0]


STARTER = """
import os, sys, time
from pathlib import Path
from tasques.embedded.process import ServerProcess
ServerProcess(["/bin/bash", "-c", sys.argv[2]], cwd=Path("/"), environment=dict(os.environ),
              log=Path(sys.argv[1]), account=None, keep_open=2)
time.sleep(1000)
"""


def test_nothing_is_left_when_the_starter_is_killed(tmp_path):
    log = tmp_path / "log"
    script = LAUNCHER.replace("echo ready", "echo $$ $!")
    with subprocess.Popen([sys.executable, "-c", STARTER, str(log), script]) as starter:
        until(lambda: log.exists() and log.read_text().endswith("\n"))
        pids = [int(pid) for pid in log.read_text().split()]
        alive = [is_alive(pid) for pid in pids]

        starter.kill()

    assert alive == [True, True]
    until(lambda: not any(map(is_alive, pids)))
