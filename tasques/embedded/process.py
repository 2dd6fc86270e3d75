"""A started server: the launcher, which we started, and the server proper, which it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasques.embedded import launch
from tasques.embedded.errors import NodeError, WrongThreadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasques.embedded.accounts import Account

_LAST_LINES = 25
_OUTPUT_LIMIT = 1 << 20


class ServerProcess:
    """Both processes; they die with ours, however ours dies.

    Args:
        command: what to run.
        cwd: its working directory.
        environment: the whole of it.
        log: the file that its output is appended to.
        account: as whom; `None` is as we are.
        keep_open: a descriptor that is open in the launcher as long as it lives.

    Raises:
        WrongThreadError: this is not the main thread. The kernel ends the server together with
            the thread that started it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        log: Path,
        account: Account | None,
        keep_open: int,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise WrongThreadError
        self._log = log
        ids = [str(account.uid), str(account.gid)] if account else ["-", "-"]
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 -- the command is ours
                [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *ids, *command],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us only, and we stop it in order
                pass_fds=(keep_open,),
            )

    @property
    def running(self) -> bool:
        """Whether the launcher lives; it ends when the server does."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What this start has logged, at most the last megabyte of it."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _OUTPUT_LIMIT))
            return log.read().decode(errors="replace")

    @property
    def last_lines(self) -> str:
        """The end of that, without the frames of stack traces: they hide the causes."""
        lines = [line for line in self.output.splitlines() if not line.startswith("\t")]
        return "\n".join(lines[-_LAST_LINES:])

    def server_pid(self) -> int:
        """The process of the server proper.

        Raises:
            NodeError: there is none.
        """
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # pid (name) state parent ...: the name may hold spaces and parentheses
                fields = status.read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == self._process.pid and fields[0] != "Z":
                    return int(status.parent.name)
        raise NodeError(f"process {self._process.pid} runs no server")

    def terminate(self) -> None:
        """Ask it to end, also when it is paused; does not wait."""
        self._signal_group(signal.SIGCONT)
        if self.running:
            self._process.terminate()

    def wait(self, timeout: float) -> None:
        """Wait for its end; what lives longer than `timeout` seconds is killed."""
        try:
            self._process.wait(timeout)
        except BaseException as error:  # a second Ctrl-C is no reason to leave it behind
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def _signal_group(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
