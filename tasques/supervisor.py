"""Several server processes on one port, under a parent that does nothing else.

The parent opens the port and forks before it has any thread or event loop, so each child begins
from a clean state and shares the open socket. A child that dies is started again, with growing
pauses when it dies young; a service that can not be kept alive ends with an error. The kernel
ends the children when the parent is killed. All write to the same log stream.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tasques.clock import SystemClock
from tasques.domain.ports import Clock

log = logging.getLogger(__name__)

START_FAILED: Final = 3
"""Exit code of a child that will fail however often it is started."""

_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGINT, signal.SIGTERM})
_PR_SET_PDEATHSIG: Final = 1
_YOUNG: Final = 10.0  # seconds
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
_MAX_YOUNG_DEATHS: Final = 10
_TURN: Final = 0.2
_EXTRA_GRACE: Final = 2.0

Work = Callable[[int, Callable[[], None]], int]
"""What a child does, by its number; it makes the call once it serves, and returns its exit code."""


@dataclass(slots=True)
class _Place:
    """One of the processes that should be running, by its number from 0."""

    number: int
    pid: int | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    young_deaths: int = 0


@dataclass(slots=True)
class Supervisor:
    """Keeps a number of processes running until it is told to stop.

    Attributes:
        count: how many.
        work: what each does; one that is started again has the number of the one that ended.
        grace: seconds that they have to end when told to.
        on_started: called once, when all serve for the first time.
        on_ended: called with the number of each process that ended and is to be replaced.
        clock: for pauses and ages.
    """

    count: int
    work: Work
    grace: float
    on_started: Callable[[], None]
    on_ended: Callable[[int], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)
    _places: list[_Place] = field(default_factory=list)
    _serving: int = 0
    _pipe: tuple[int, int] = (-1, -1)
    _told: int = signal.SIGTERM

    def run(self) -> int:
        """Supervise; return the exit code: 0 if it was told to stop, else 1."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[0], False)
        self._places = [_Place(number) for number in range(self.count)]
        code = 1
        try:
            code = self._watch()
        finally:
            self._end_all()
        return code

    def _watch(self) -> int:
        while True:
            for place in self._places:
                if place.pid is None and self.clock.monotonic() >= place.start_again_at:
                    self._start(place)
            told = signal.sigtimedwait(_SIGNALS, _TURN)
            if told is not None and told.si_signo != signal.SIGCHLD:
                self._told = told.si_signo
                log.info("stopping")
                return 0
            self._count_serving()
            for place in self._places:
                code = _exit_code(place)
                if code is not None and not self._may_go_on(place, code):
                    return 1

    def _start(self, place: _Place) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_child(place.number, parent)
        place.pid = pid
        place.started_at = self.clock.monotonic()

    def _be_child(self, number: int, parent: int) -> None:
        code = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before that call
                return
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self.work(number, self._tell_serving)
        except BaseException:
            log.exception("a server process failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)  # nothing of the parent's is to be undone here

    def _tell_serving(self) -> None:
        os.write(self._pipe[1], b"1")

    def _count_serving(self) -> None:
        if self._serving >= self.count:
            return
        try:
            self._serving += len(os.read(self._pipe[0], self.count))
        except BlockingIOError:
            return
        if self._serving >= self.count:
            self.on_started()

    def _may_go_on(self, place: _Place, code: int) -> bool:
        """Plan a new start of a process that has ended; False if that would be in vain."""
        if place.pid is not None:
            self.on_ended(place.pid)
        place.pid = None
        now = self.clock.monotonic()
        if code == START_FAILED and self._serving == 0:
            return False
        place.young_deaths = place.young_deaths + 1 if now - place.started_at < _YOUNG else 0
        if place.young_deaths >= _MAX_YOUNG_DEATHS:
            log.error("a server process can not be kept alive", extra={"exit_code": code})
            return False
        pause = min(_FIRST_PAUSE * (1 << place.young_deaths) / 2, _LONGEST_PAUSE)
        place.start_again_at = now + pause
        log.warning("a server process ended", extra={"exit_code": code, "again_in_s": pause})
        return True

    def _end_all(self) -> None:
        self._pass_on(self._told)
        until = self.clock.monotonic() + self.grace + _EXTRA_GRACE
        while any(place.pid is not None for place in self._places):
            for place in self._places:
                if place.pid is None:
                    continue
                if _exit_code(place) is not None:
                    place.pid = None
                elif self.clock.monotonic() > until:
                    os.kill(place.pid, signal.SIGKILL)
            told = signal.sigtimedwait(_SIGNALS, _TURN)
            if told is not None and told.si_signo != signal.SIGCHLD:
                self._pass_on(told.si_signo)

    def _pass_on(self, number: int) -> None:
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, number)


def _exit_code(place: _Place) -> int | None:
    """How a process ended; None if it has not. Asks for this one only: there may be others."""
    if place.pid is None:
        return None
    pid, status = os.waitpid(place.pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None
