"""One node or more, as one thing that can be started and stopped."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tasques.embedded.accounts import acting_as, server_account
from tasques.embedded.configuration import (
    SECURE_SETTINGS,
    Settings,
    jvm_options,
    multi_node_settings,
    node_settings,
)
from tasques.embedded.errors import (
    ClosedPathError,
    EmbeddedError,
    InvalidOptionError,
    PortTakenError,
    UnsupportedPlatformError,
    WrongThreadError,
    translated,
)
from tasques.embedded.installation import Installation, install
from tasques.embedded.locks import DirectoryLock
from tasques.embedded.node import Node
from tasques.embedded.paths import cache_dir, make_directory, make_ephemeral
from tasques.embedded.probe import require_free
from tasques.embedded.progress import Progress, Silence
from tasques.embedded.release import DEFAULT_VERSION, release_of
from tasques.embedded.security import CA_FILE, Credentials, kept_credentials
from tasques.embedded.waiting import Deadline

if TYPE_CHECKING:
    from types import TracebackType

_READY = 180.0  # seconds; a loaded machine needs many times the usual five
_OTHER_DIRECTORY = "choose another data directory"


class Cluster:
    """A real Elasticsearch on loopback, started by `start()` or by entering it as a context.

    It ends with `stop()`, and also when this process ends in whatever way.

    Args:
        nodes: how many.
        base: the data directory, kept afterwards; without one a temporary directory is used and
            removed by `stop()`.
        heap: of each node, such as `512m`.
        http_port: of the first node, the others take the next ones; 0 takes any free ones.
        secure: with TLS, and a password for the user `elastic`.
        java_options: added to ours, which are for a quick start and not for a long run.
        settings: of Elasticsearch, over ours; a value of `None` leaves one of ours out.
        version: of Elasticsearch; one whose digest is known.
        progress: who is told how far the start has come.

    Attributes:
        nodes: the nodes; empty before the first start.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        base: Path | None = None,
        heap: str = "512m",
        http_port: int = 0,
        secure: bool = False,
        java_options: str = "",
        settings: Settings | None = None,
        version: str = DEFAULT_VERSION,
        progress: Progress | None = None,
    ) -> None:
        if nodes < 1:
            raise InvalidOptionError(f"a cluster has one node or more, not {nodes}")
        jvm_options(heap)  # finds out whether it is a size
        self.nodes: list[Node] = []
        self._size = nodes
        self._given_base = base.expanduser().absolute() if base is not None else None
        self._base: Path | None = None
        self._heap = heap
        self._http_port = http_port
        self._secure = secure
        self._java_options = java_options
        self._settings = settings or {}
        self._release = release_of(version)
        self._progress = progress or Silence()
        self._account = server_account(os.geteuid())
        self._credentials: Credentials | None = None
        self._lock: DirectoryLock | None = None

    @property
    def urls(self) -> list[str]:
        """Where the nodes answer, in their order."""
        return [node.url for node in self.nodes]

    @property
    def base(self) -> Path:
        """The data directory.

        Raises:
            EmbeddedError: it is temporary, and not there before the start.
        """
        if (base := self._given_base or self._base) is None:
            raise EmbeddedError("the cluster was not started")
        return base

    @property
    def password(self) -> str | None:
        """Of the user `elastic`; `None` when the cluster is not a secure one."""
        return self._credentials.password.decode() if self._credentials else None

    @property
    def ca_pem(self) -> bytes | None:
        """The certificate that the servers' ones can be verified with."""
        return self._credentials.ca_pem if self._credentials else None

    @property
    def ca_file(self) -> Path | None:
        """A file with `ca_pem`, for clients that want one."""
        return self.base / "secrets" / CA_FILE if self._credentials else None

    @property
    def running(self) -> bool:
        """Whether every node runs."""
        return bool(self.nodes) and all(node.running for node in self.nodes)

    def start(self) -> Self:
        """Fetch what is missing, start all nodes, and wait until they answer.

        Raises:
            EmbeddedError: one of its kinds; nothing is left running then.
        """
        if self.nodes and any(node.running for node in self.nodes):
            raise EmbeddedError("the cluster is running already")
        try:
            self._check()
            installation = install(
                self._release,
                os.environ,
                self._account,
                cache=cache_dir(os.environ, os.geteuid()),
                progress=self._progress,
            )
            self._open_base()
            self._make_nodes(installation)
            self._start_nodes()
        except BaseException:
            self.stop()
            raise
        finally:
            self._progress.close()
        return self

    def restart(self, node: Node) -> None:
        """Start a node that was stopped or killed, on its old port unless that was taken.

        Raises:
            EmbeddedError: one of its kinds.
        """
        node.stop()
        if node.http_port and not self._http_port:
            try:
                require_free(node.http_port)
            except PortTakenError:  # an outgoing connection of somebody's may have got it
                node.http_port = 0
        node.prepare()
        node.spawn(self._held_lock().descriptor)
        deadline = Deadline(_READY)
        self._publish_addresses(deadline)
        awake = sum(n.running and not n.is_paused for n in self.nodes)
        node.wait_ready(awake, deadline)

    def stop(self) -> None:
        """End all nodes within seconds; a temporary data directory is removed."""
        with ExitStack() as stack:  # each step is taken, also when one is interrupted
            stack.callback(self._close_base)
            for node in self.nodes:
                node.terminate()
                stack.callback(node.stop)

    def _close_base(self) -> None:
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _check(self) -> None:
        """Find out what can be known before anything is fetched or started."""
        if not sys.platform.startswith("linux"):
            raise UnsupportedPlatformError(sys.platform)
        if threading.current_thread() is not threading.main_thread():
            raise WrongThreadError
        if self._http_port:
            with acting_as(self._account):
                for number in range(self._size):
                    require_free(self._http_port + number)

    def _open_base(self) -> None:
        if self._given_base is None:
            self._base = make_ephemeral(self._account)
        else:
            make_directory(self._given_base, _OTHER_DIRECTORY)
        if self._account and not self._account.can_reach(self.base):
            raise ClosedPathError(
                f"{self.base} is closed to uid {self._account.uid}, which runs Elasticsearch: "
                f"{_OTHER_DIRECTORY}, in a place that everybody can enter"
            )
        lock = DirectoryLock(self.base)
        with translated("write to", self.base, remedy=_OTHER_DIRECTORY):
            lock.acquire()
        self._lock = lock

    def _make_nodes(self, installation: Installation) -> None:
        with translated("write to", self.base, remedy=_OTHER_DIRECTORY):
            self._credentials = kept_credentials(self.base / "secrets") if self._secure else None
            snapshots = self.base / "snapshots"
            snapshots.mkdir(mode=0o700, exist_ok=True)
            if self._account:
                os.chown(snapshots, self._account.uid, self._account.gid, follow_symlinks=False)
        names = [f"node-{number}" for number in range(self._size)]
        shared = multi_node_settings(names) if self._size > 1 else {}
        shared |= (SECURE_SETTINGS if self._secure else {}) | self._settings
        self.nodes = [
            Node(
                name,
                self.base / name,
                installation,
                heap=self._heap,
                http_port=self._http_port + number if self._http_port else 0,
                settings=node_settings(name, self.base / name, snapshots) | shared,
                credentials=self._credentials,
                java_options=self._java_options,
            )
            for number, name in enumerate(names)
        ]

    def _start_nodes(self) -> None:
        self._progress.phase("starting Elasticsearch")
        first, *others = self.nodes
        first.prepare()
        for node in others:
            node.prepare(keystore_of=first)
        for node in self.nodes:
            node.spawn(self._held_lock().descriptor)
        deadline = Deadline(_READY)
        self._publish_addresses(deadline)
        for node in self.nodes:
            node.wait_ready(self._size, deadline)

    def _publish_addresses(self, deadline: Deadline) -> None:
        """Tell every node where the others are: known only after their ports are open."""
        if self._size == 1:
            return
        alive = [node for node in self.nodes if node.running]
        text = "".join(f"{node.transport_address(deadline)}\n" for node in alive)
        for node in self.nodes:
            node.publish(text)

    def _held_lock(self) -> DirectoryLock:
        if self._lock is None:
            raise EmbeddedError("the cluster was not started")
        return self._lock
