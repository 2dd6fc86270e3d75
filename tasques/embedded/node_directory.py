"""The directory of one node: configuration, keystore, data and logs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from tasques.embedded.accounts import acting_as
from tasques.embedded.configuration import (
    CLI_JAVA_OPTS,
    LOG4J2,
    Settings,
    elasticsearch_yml,
    jvm_options,
)
from tasques.embedded.errors import ClosedPathError, NodeError, translated
from tasques.embedded.probe import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from tasques.embedded.installation import Installation
    from tasques.embedded.security import Credentials

_LOG_LIMIT = 16 << 20  # bytes above which a start puts the log aside
_KEYSTORE = "elasticsearch.keystore"


class NodeDirectory:
    """A directory `path` that belongs to the account which runs the server."""

    def __init__(self, path: Path, installation: Installation) -> None:
        self.path = path
        self.config = path / "config"
        self.log = path / "elasticsearch.log"
        self._installation = installation
        self._account = installation.account

    def environment(self) -> dict[str, str]:
        """What the server is told; our own environment may hold secrets and is not passed on."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TZ")}
        return kept | {
            "LC_ALL": "C.UTF-8",  # Java reads the names of files by it
            "HOME": str(self.path),
            "ES_PATH_CONF": str(self.config),
            "ES_JAVA_HOME": str(self._installation.java),
            "ES_TMPDIR": str(self.path / "tmp"),
            "CLI_JAVA_OPTS": CLI_JAVA_OPTS,
        }

    def prepare(
        self,
        settings: Settings,
        heap: str,
        credentials: Credentials | None,
        keystore_of: NodeDirectory | None,
    ) -> None:
        """Write what a start needs, and remove what the last one left.

        Args:
            settings: for `elasticsearch.yml`.
            heap: for `jvm.options`.
            credentials: of a secured node.
            keystore_of: where a keystore with the password is already, to save the time of
                making another one.

        Raises:
            ClosedPathError: the directory is another account's, or cannot be written.
            NoRoomError: the disk is full.
            NodeError: the keystore could not be made.
        """
        with translated("write to", self.path, remedy="choose another data directory"):
            self._make()
            with acting_as(self._account):
                self._write_files(settings, heap)
                if credentials is not None:
                    (self.config / "http.key").write_bytes(credentials.key_pem)
                    (self.config / "http.crt").write_bytes(credentials.certificate_pem)
                if keystore_of is not None:
                    for file in keystore_of.config.glob(f"{_KEYSTORE}*"):
                        shutil.copyfile(file, self.config / file.name)
        if credentials is not None:
            self._set_password(credentials.password)

    def write(self, name: str, text: str) -> None:
        """Write one more file of the configuration."""
        with acting_as(self._account):
            (self.config / name).write_text(text)

    def port(self, kind: Literal["http", "transport"]) -> int | None:
        """The port in the file that the server writes once it listens."""
        with suppress(FileNotFoundError):
            for address in (self.path / "logs" / f"{kind}.ports").read_text().split():
                host, _, port = address.rpartition(":")
                if host == LOOPBACK:
                    return int(port)
        return None

    def _make(self) -> None:
        """Make it, closed to others: key, keystore and data are in it."""
        owner = os.geteuid() if self._account is None else self._account.uid
        if not self.path.exists():
            self.path.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(self.path, self._account.uid, self._account.gid)
        if (found := self.path.lstat().st_uid) != owner:
            raise ClosedPathError(
                f"{self.path} belongs to uid {found}, and Elasticsearch runs as uid {owner}: "
                f"choose another data directory, or chown -R {owner} {self.path}"
            )

    def _write_files(self, settings: Settings, heap: str) -> None:
        for folder in ("config", "data", "logs", "tmp"):
            (self.path / folder).mkdir(exist_ok=True)
        for name in ("roles.yml", "role_mapping.yml", "users", "users_roles"):
            origin = self._installation.home / "config" / name
            if origin.exists() and not (self.config / name).exists():
                shutil.copyfile(origin, self.config / name)
        (self.config / "elasticsearch.yml").write_text(elasticsearch_yml(settings))
        (self.config / "jvm.options").write_text(jvm_options(heap))
        (self.config / "log4j2.properties").write_text(LOG4J2)
        for ports in (self.path / "logs").glob("*.ports"):
            ports.unlink()
        # Of a start that was killed while the server made its keystore; it would never start again.
        (self.config / f"{_KEYSTORE}.tmp").unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)

    def _set_password(self, password: bytes) -> None:
        """Put the password into the keystore, unless the same one is there.

        The tool is a Java program and takes a second, hence the digest that remembers.
        """
        done = self.config / f"{_KEYSTORE}.sha256"
        digest = hashlib.sha256(password).hexdigest()
        if done.exists() and done.read_text() == digest:
            return
        account = self._account
        result = subprocess.run(  # noqa: S603 -- the command is ours
            [
                str(self._installation.home / "bin" / "elasticsearch-keystore"),
                *("add", "--stdin", "--force", "bootstrap.password"),
            ],
            input=password,
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0:
            said = (result.stdout + result.stderr).decode(errors="replace")
            raise NodeError(f"cannot put the password into the keystore in {self.config}: {said}")
        self.write(done.name, digest)
