"""The supervisor forks, so each test has one in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds; what is slow here is the machine

SCRIPT = """
import os, signal, sys
from tasques import supervisor as module
from tasques.supervisor import START_FAILED, Supervisor

module._FIRST_PAUSE = 0.001

def say(line):  # whole: print writes piece by piece when Python is told not to buffer
    os.write(1, (line + "\\n").encode())

def serve(number, on_started):
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM, signal.SIGINT}})
    say(f"child {{os.getpid()}} {{number}}")
    on_started()
    signal.sigwait({{signal.SIGTERM, signal.SIGINT}})
    return 0

def die(number, on_started):
    os._exit(7)

def never_start(number, on_started):
    return START_FAILED

def ignore(number, on_started):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(f"child {{os.getpid()}} {{number}}")
    on_started()
    while True:
        signal.pause()

supervisor = Supervisor(
    count=2, work={work}, grace=0.0, on_started=lambda: say("started")
)
sys.exit(supervisor.run())
"""


class Run:
    """A supervisor in a process of its own, with its output in a file."""

    def __init__(self, work: str, output: Path) -> None:
        self.output = output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT.format(work=work)], stdout=file, stderr=file
            )

    def children(self) -> list[int]:
        """The pids of all children that ever served."""
        return [pid for pid, _ in self._served()]

    def numbers(self) -> list[int]:
        """The numbers of the places in which they did."""
        return [number for _, number in self._served()]

    def _served(self) -> list[tuple[int, int]]:
        lines = [line.split() for line in self.output.read_text().splitlines()]
        return [(int(line[1]), int(line[2])) for line in lines if line[:1] == ["child"]]

    def wait_for(self, condition) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, self.output.read_text()
            time.sleep(0.02)

    def has_started(self) -> bool:
        return "started" in self.output.read_text()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter while it goes
        return False


@pytest.fixture
def run(tmp_path):
    runs = []

    def start(work: str) -> Run:
        runs.append(Run(work, tmp_path / "output"))
        return runs[-1]

    yield start
    for each in runs:
        for pid in [*each.children(), each.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(run, number):
    """Told to stop, it ends its children and then itself, with exit code 0."""
    supervisor = run("serve")
    supervisor.wait_for(supervisor.has_started)

    supervisor.process.send_signal(number)

    assert supervisor.process.wait(PATIENCE) == 0
    assert len(supervisor.children()) == 2
    assert not any(map(is_alive, supervisor.children()))


def test_a_dead_child_is_started_again(run):
    supervisor = run("serve")
    supervisor.wait_for(supervisor.has_started)
    first = supervisor.children()

    os.kill(first[0], signal.SIGKILL)

    supervisor.wait_for(lambda: len(supervisor.children()) == 3)
    assert is_alive(first[1])
    assert is_alive(supervisor.children()[-1])
    assert sorted(supervisor.numbers()[:2]) == [0, 1]
    assert supervisor.numbers()[2] == supervisor.numbers()[0]


def test_children_end_when_the_supervisor_is_killed(run):
    supervisor = run("serve")
    supervisor.wait_for(supervisor.has_started)

    supervisor.process.kill()

    supervisor.wait_for(lambda: not any(map(is_alive, supervisor.children())))


def test_a_service_that_can_not_be_kept_alive_ends_with_an_error(run):
    supervisor = run("die")

    assert supervisor.process.wait(PATIENCE) == 1
    assert "can not be kept alive" in supervisor.output.read_text()


def test_a_start_that_must_fail_is_not_repeated(run):
    supervisor = run("never_start")

    assert supervisor.process.wait(PATIENCE) == 1
    assert "again_in_s" not in supervisor.output.read_text()


def test_a_child_that_does_not_listen_is_killed(run):
    supervisor = run("ignore")
    supervisor.wait_for(supervisor.has_started)

    supervisor.process.terminate()

    assert supervisor.process.wait(PATIENCE) == 0
    assert not any(map(is_alive, supervisor.children()))
