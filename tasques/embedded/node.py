"""One node: its files, its processes, and ways to break it for tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasques.embedded.accounts import Account, acting_as
from tasques.embedded.configuration import (
    CLI_JAVA_OPTS,
    LOG4J2,
    SECURE_SETTINGS,
    Settings,
    elasticsearch_yml,
    jvm_options,
)
from tasques.embedded.errors import (
    ClosedPathError,
    NodeError,
    NoRoomError,
    PortTakenError,
    translated,
)
from tasques.embedded.probe import LOOPBACK, answers
from tasques.embedded.process import ServerProcess
from tasques.embedded.waiting import Deadline, poll

if TYPE_CHECKING:
    from tasques.embedded.security import Credentials

_LOG_LIMIT = 16 << 20  # bytes above which a start puts the log aside
_LAUNCHER_PATIENCE = 10.0  # seconds for the launcher to notice that its server was killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What all nodes share: the server's files, a Java, and as whom it runs."""

    home: Path
    java: Path
    account: Account | None


class Node:
    """A node with its own directory `base`; made, started and stopped by its cluster.

    Attributes:
        name: its name in the cluster.
        base: its directory: configuration, data, logs.
        http_port: where it answers; 0 until it is ready, when any free one will do.
    """

    def __init__(
        self,
        name: str,
        base: Path,
        installation: Installation,
        *,
        heap: str,
        settings: Settings,
        credentials: Credentials | None,
    ) -> None:
        self.name = name
        self.base = base
        self.http_port = 0
        self.is_paused = False
        self._installation = installation
        self._options = jvm_options(heap)
        self._settings = settings
        self._credentials = credentials
        self._process: ServerProcess | None = None

    @property
    def config(self) -> Path:
        """The directory with its configuration."""
        return self.base / "config"

    @property
    def log(self) -> Path:
        """The file with everything that it has written."""
        return self.base / "elasticsearch.log"

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "http" if self._credentials is None else "https"
        return f"{scheme}://{LOOPBACK}:{self.http_port}"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    def server_pid(self) -> int:
        """The process of the server, for signals of your own.

        Raises:
            NodeError: it is not running.
        """
        return self._started().server_pid()

    # --------------------------------------------------------------------- start

    def prepare(self, keystore_of: Node | None = None) -> None:
        """Write its files.

        Args:
            keystore_of: a prepared node whose keystore is taken, to save the time of making one.

        Raises:
            ClosedPathError: its directory is not its account's, or cannot be written.
            NoRoomError: the disk is full.
        """
        account = self._installation.account
        with translated("write to", self.base, remedy="choose another data directory"):
            self._make_base(account)
            with acting_as(account):
                self._write_files()
                if keystore_of is not None:
                    self._copy_keystore(keystore_of.config)
        if self._credentials is not None:
            self._set_password(self._credentials.password)

    def _make_base(self, account: Account | None) -> None:
        """Make its directory, closed to others: key, keystore and data are in it."""
        owner = os.geteuid() if account is None else account.uid
        if not self.base.exists():
            self.base.mkdir(mode=0o700)
            if account is not None:
                os.chown(self.base, account.uid, account.gid)
        if (found := self.base.lstat().st_uid) != owner:
            raise ClosedPathError(
                f"{self.base} belongs to uid {found}, and Elasticsearch runs as uid {owner}: "
                f"choose another data directory, or chown -R {owner} {self.base}"
            )

    def _write_files(self) -> None:
        for folder in ("config", "data", "logs", "tmp"):
            (self.base / folder).mkdir(exist_ok=True)
        for file in ("roles.yml", "role_mapping.yml", "users", "users_roles"):
            origin = self._installation.home / "config" / file
            if origin.exists() and not (self.config / file).exists():
                shutil.copyfile(origin, self.config / file)
        secure: Settings = {}
        if self._credentials is not None:
            secure = SECURE_SETTINGS
            (self.config / "http.key").write_bytes(self._credentials.key_pem)
            (self.config / "http.crt").write_bytes(self._credentials.certificate_pem)
        settings = secure | self._settings | {"http.port": self.http_port}
        (self.config / "elasticsearch.yml").write_text(elasticsearch_yml(settings))
        (self.config / "jvm.options").write_text(self._options)
        (self.config / "log4j2.properties").write_text(LOG4J2)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _set_password(self, password: bytes) -> None:
        """Put the password into the keystore, unless the same one is there.

        The tool is a Java program and takes a second, hence the digest that remembers.
        """
        done = self.config / "elasticsearch.keystore.password"
        digest = hashlib.sha256(password).hexdigest()
        if done.exists() and done.read_text() == digest:
            return
        account = self._installation.account
        result = subprocess.run(  # noqa: S603 -- the command is ours
            [
                str(self._installation.home / "bin" / "elasticsearch-keystore"),
                *("add", "--stdin", "--force", "bootstrap.password"),
            ],
            input=password,
            cwd=self.base,
            env=self._environment(),
            capture_output=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0:
            said = (result.stdout + result.stderr).decode(errors="replace")
            raise NodeError(f"{self.name}: elasticsearch-keystore failed: {said}")
        with acting_as(account):
            done.write_text(digest)

    def _copy_keystore(self, origin: Path) -> None:
        for file in origin.glob("elasticsearch.keystore*"):
            shutil.copyfile(file, self.config / file.name)

    def _environment(self) -> dict[str, str]:
        """What the server may know of our environment; secrets in it are none of its business."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TZ")}
        return kept | {
            "HOME": str(self.base),
            "ES_PATH_CONF": str(self.config),
            "ES_JAVA_HOME": str(self._installation.java),
            "ES_TMPDIR": str(self.base / "tmp"),
            "CLI_JAVA_OPTS": CLI_JAVA_OPTS,
        }

    def spawn(self, keep_open: int) -> None:
        """Start it; `wait_ready` tells when it answers.

        Args:
            keep_open: a descriptor that stays open as long as it runs.

        Raises:
            WrongThreadError: this is not the main thread.
        """
        with acting_as(self._installation.account):
            for ports in (self.base / "logs").glob("*.ports"):
                ports.unlink()
            self.log.touch(mode=0o600)
        self.is_paused = False
        self._process = ServerProcess(
            [str(self._installation.home / "bin" / "elasticsearch")],
            cwd=self.base,
            environment=self._environment(),
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
            raise NodeError(f"{self.name} does not become ready ({reason}); its log is {self.log}")

    def _port(self, kind: Literal["http", "transport"], deadline: Deadline) -> int:
        """The port in the file that the server writes once it listens."""
        file = self.base / "logs" / f"{kind}.ports"

        def look() -> int | None:
            self._require_running()
            with suppress(FileNotFoundError):
                for address in file.read_text().split():
                    host, _, port = address.rpartition(":")
                    if host == LOOPBACK:
                        return int(port)
            return None

        if (port := poll(look, deadline)) is None:
            raise NodeError(f"{self.name} does not open its {kind} port; its log is {self.log}")
        return port

    def _require_running(self) -> None:
        if self.running:
            return
        lines = self._started().last_lines
        if "Address already in use" in lines and self.http_port:
            raise PortTakenError(self.http_port)
        if "No space left on device" in lines:
            raise NoRoomError(f"the disk of {self.base} is full: make room there")
        raise NodeError(f"{self.name} ended while it was starting; {self.log} ends with:\n{lines}")

    def _started(self) -> ServerProcess:
        if self._process is None:
            raise NodeError(f"{self.name} was not started")
        return self._process

    # ----------------------------------------------------------------- stop, break

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
