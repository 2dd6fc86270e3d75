"""One node: started, watched, stopped, and broken for tests of what happens then."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Literal

from tasques.embedded.errors import NodeError, NoRoomError, PortTakenError
from tasques.embedded.node_directory import NodeDirectory
from tasques.embedded.probe import LOOPBACK, answers
from tasques.embedded.process import ServerProcess
from tasques.embedded.waiting import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tasques.embedded.configuration import Settings
    from tasques.embedded.installation import Installation
    from tasques.embedded.security import Credentials
    from tasques.embedded.waiting import Deadline

_LAUNCHER_PATIENCE = 10.0  # seconds for the launcher to notice that its server was killed


class Node:
    """A node with its own directory `base`; made, started and stopped by its cluster.

    Attributes:
        name: its name in the cluster.
        http_port: where it answers; 0 until it is ready, when any free one will do.
        is_paused: whether `pause` was called and not `resume`.
    """

    def __init__(
        self,
        name: str,
        base: Path,
        installation: Installation,
        *,
        heap: str,
        http_port: int,
        settings: Settings,
        credentials: Credentials | None,
        java_options: str,
    ) -> None:
        self.name = name
        self.http_port = http_port
        self.is_paused = False
        self._directory = NodeDirectory(base, installation)
        self._installation = installation
        self._heap = heap
        self._settings = settings
        self._credentials = credentials
        self._java_options = java_options
        self._process: ServerProcess | None = None

    @property
    def base(self) -> Path:
        """The directory with all its files."""
        return self._directory.path

    @property
    def config(self) -> Path:
        """The directory with its configuration."""
        return self._directory.config

    @property
    def log(self) -> Path:
        """The file with everything that it has written."""
        return self._directory.log

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "http" if self._credentials is None else "https"
        return f"{scheme}://{LOOPBACK}:{self.http_port}"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    @property
    def last_log_lines(self) -> str:
        """The end of what it has logged since its last start."""
        return self._process.last_lines if self._process is not None else ""

    def server_pid(self) -> int:
        """The process of the server, for signals of your own.

        Raises:
            NodeError: it is not running.
        """
        return self._started().server_pid()

    def prepare(self, keystore_of: Node | None = None) -> None:
        """Write its files; `keystore_of` is a prepared node that has the same password.

        Raises:
            ClosedPathError: its directory is another account's, or cannot be written.
            NoRoomError: the disk is full.
            NodeError: the keystore could not be made.
        """
        self._directory.prepare(
            self._settings | {"http.port": self.http_port},
            self._heap,
            self._credentials,
            keystore_of._directory if keystore_of else None,  # noqa: SLF001 -- of the same class
        )

    def spawn(self, keep_open: int) -> None:
        """Start it; `wait_ready` tells when it answers.

        Args:
            keep_open: a descriptor that stays open as long as it runs.

        Raises:
            WrongThreadError: this is not the main thread.
        """
        self.is_paused = False
        self._process = ServerProcess(
            [str(self._installation.home / "bin" / "elasticsearch")],
            cwd=self.base,
            environment=self._directory.environment() | {"ES_JAVA_OPTS": self._java_options},
            log=self.log,
            account=self._installation.account,
            keep_open=keep_open,
        )

    def transport_address(self, deadline: Deadline) -> str:
        """Where other nodes reach it, as soon as it listens.

        Raises:
            NodeError: it ended, or the deadline passed.
        """
        return f"{LOOPBACK}:{self._port('transport', deadline)}"

    def publish(self, addresses: str) -> None:
        """Tell it where the nodes of its cluster are."""
        self._directory.write("unicast_hosts.txt", addresses)

    def wait_ready(self, nodes: int, deadline: Deadline) -> None:
        """Wait until it belongs to a cluster of `nodes` or more with all primary shards.

        Raises:
            NodeError: it ended, or the deadline passed.
            PortTakenError: somebody took its port meanwhile.
            NoRoomError: its disk is full.
        """
        self.http_port = self._port("http", deadline)
        path = f"/_cluster/health?wait_for_status=yellow&wait_for_nodes=ge({nodes})&timeout=1s"
        reason: str | None = None

        def look() -> bool | None:
            nonlocal reason
            self._require_running()
            reason = answers(self.http_port, path, self._credentials)
            return True if reason is None else None

        if poll(look, deadline) is None:
            raise self._failure(f"does not become ready ({reason})")

    def _port(self, kind: Literal["http", "transport"], deadline: Deadline) -> int:
        def look() -> int | None:
            self._require_running()
            return self._directory.port(kind)

        if (port := poll(look, deadline)) is None:
            raise self._failure(f"does not open its {kind} port")
        return port

    def _require_running(self) -> None:
        if self.running:
            return
        output = self._started().output
        if "BindHttpException" in output and "Address already in use" in output:
            raise PortTakenError(self.http_port)
        if "No space left on device" in output:
            raise NoRoomError(f"the disk of {self.base} is full: make room there")
        raise self._failure("ended while it was starting")

    def _failure(self, what: str) -> NodeError:
        lines = self.last_log_lines
        return NodeError(f"{self.name} {what}; its log {self.log} ends with:\n{lines}")

    def _started(self) -> ServerProcess:
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        return self._process

    def terminate(self) -> None:
        """Ask it to end and do not wait."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, timeout: float = 10.0) -> None:
        """End it in order; what takes longer than `timeout` seconds is killed."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout)

    def kill(self) -> None:
        """End the server as a crash would, and wait until it is gone.

        Raises:
            NodeError: it is not running.
        """
        os.kill(self.server_pid(), signal.SIGKILL)
        self._started().wait(_LAUNCHER_PATIENCE)

    def pause(self) -> None:
        """Freeze it: it holds its connections and answers nothing.

        Raises:
            NodeError: it is not running.
        """
        os.kill(self.server_pid(), signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """Let it go on after `pause`.

        Raises:
            NodeError: it is not running.
        """
        os.kill(self.server_pid(), signal.SIGCONT)
        self.is_paused = False
