"""Tasques' commands as child processes, as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

TASQUES = Path(sys.executable).with_name("tasques")
PATIENCE = 60.0  # seconds; what is slow here is the machine
T = TypeVar("T")

Environment = dict[str, str]
"""Environment variables as they are, over those that settings become."""

_PAUSE = 0.05
_SHOWN = 4000  # characters of a log that tell why

Settings = Mapping[str, object]
"""Values by key below `tasques.server`, such as `elasticsearch.index_prefix`."""


class Command:
    """A command that is running; what it prints and logs is in a file."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        settings: Settings | None = None,
        environment: Environment | None = None,
    ) -> None:
        """Start `tasques ARGUMENTS` in a folder, which also takes its output.

        It leads a process group of its own, as it does in a terminal.
        """
        self.is_over = False  # ended by us
        # Numbered, so that a test can start it again and still see what the first one said.
        self.log = folder / f"{arguments[0]}-{len(list(folder.glob('*.log')))}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [TASQUES, *arguments],
                cwd=folder,
                env=environment_of(settings or {}) | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All that it has said until now."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def address(self, patience: float = PATIENCE) -> str:
        """Where it listens, as `http://host:port`, once it does."""
        return self.wait_for(self._logged_address, "it listens", patience)

    def wait_until_ready(self, patience: float = PATIENCE) -> str:
        """Wait until it can serve requests; returns its address."""
        address = self.address(patience)
        self.wait_for(lambda: status_of(f"{address}/health/ready") == 200, "it is ready", patience)
        return address

    def wait_for(self, condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
        """Look until a condition is true, and the process alive; returns what was found."""
        until = time.monotonic() + patience
        while not (found := condition()):
            if (code := self.process.poll()) is not None:
                raise AssertionError(f"It ended with {code} before {what}:\n{self.last_words()}")
            if time.monotonic() > until:
                raise AssertionError(f"Not in {patience} s: {what}.\n{self.last_words()}")
            time.sleep(_PAUSE)
        return found

    def handles_signals(self) -> bool:
        """Whether it has come so far that SIGTERM and SIGINT do not just kill it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        caught = int(next(line.split()[1] for line in status.splitlines() if "SigCgt" in line), 16)
        return all(caught & 1 << number - 1 for number in (signal.SIGTERM, signal.SIGINT))

    def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = PATIENCE) -> None:
        """Tell it to stop, and see that it does so with exit code 0."""
        self.is_over = True
        self.process.send_signal(number)
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"It does not stop:\n{self.last_words()}") from None
        assert code == 0, f"It stopped with {code}:\n{self.last_words()}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.is_over = True
        self.process.kill()
        self.process.wait()

    def _logged_address(self) -> str | None:
        for line in self.output.splitlines(keepends=True):
            if '"listening"' in line and line.endswith("\n"):
                return str(json.loads(line)["address"])
        return None

    def assert_calm(self) -> None:
        """It has met nothing that it was not made for."""
        for sign in ("Traceback", '"stack_trace"', '"asyncio"', '"py.warnings"'):
            assert sign not in self.output, self.last_words()

    def last_words(self) -> str:
        """The end of what it said, which should tell why."""
        return self.output[-_SHOWN:]


@contextmanager
def running(
    *arguments: str,
    folder: Path,
    settings: Settings | None = None,
    environment: Environment | None = None,
) -> Iterator[Command]:
    """A command for the time of a block; it is stopped in order unless the block failed."""
    command = Command(*arguments, folder=folder, settings=settings, environment=environment)
    try:
        yield command
    except BaseException as error:
        error.add_note(f"tasques {arguments[0]} said:\n{command.last_words()}")
        raise
    else:
        if not command.is_over:
            command.stop()
    finally:
        command.kill()


def run(
    *arguments: str,
    folder: Path,
    settings: Settings | None = None,
    environment: Environment | None = None,
    code: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must be good, or have the given exit code."""
    done = subprocess.run(
        [TASQUES, *arguments],
        cwd=folder,
        env=environment_of(settings or {}) | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, f"tasques {arguments[0]}: {done.returncode}\n{done.stderr}"
    return done


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Look until a condition is true; returns what was found."""
    until = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < until, f"not in {patience} s: {what}"
        time.sleep(_PAUSE)
    return found


Process = tuple[int, str]
"""A process by its number and its start, for numbers are used again."""


def descendants(pid: int) -> set[Process]:
    """The processes that a process has started, and those that they have."""
    children: dict[int, set[int]] = {}
    started: dict[int, str] = {}
    for child, parent, start in _processes():
        children.setdefault(parent, set()).add(child)
        started[child] = start
    found: set[Process] = set()
    wanted = [pid]
    while wanted:
        for child in children.get(wanted.pop(), ()):
            found.add((child, started[child]))
            wanted.append(child)
    return found


def exist(processes: set[Process]) -> bool:
    """Whether any of them is still there."""
    return any((pid, start) in processes for pid, _, start in _processes())


def _processes() -> Iterator[tuple[int, int, str]]:
    """All that run here: the number, the parent's, and when it was started."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # pid (name) state parent ...: the name may hold spaces and parentheses
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                yield int(status.parent.name), int(fields[1]), fields[19]


def status_of(url: str, timeout: float = 5.0) -> int | None:
    """The status of a GET; None while nobody answers."""
    there = urlsplit(url)
    connection = HTTPConnection(there.hostname or "", there.port, timeout=timeout)
    try:
        connection.request("GET", there.path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of the tests, whose settings are gone by now, with those for a command."""
    variables = {
        f"TASQUES_SERVER_{key.replace('.', '_').upper()}": str(value)
        for key, value in settings.items()
    }
    # The address is read from the log.
    return {**os.environ, "TASQUES_SERVER_LOGGING_FORMAT": "json", **variables}
