"""A directory in which the processes of one server share their figures."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "tasques-metrics-"
_LOCK: Final = "lock"
_UNFINISHED: Final = "lock.new"


@contextmanager
def shared_directory() -> Iterator[Path]:
    """Make it, remove it in the end, and those that killed servers have left.

    A lock in it is held by the process that made it and by those that are forked from it: the
    kernel lets go of it when the last of them has ended, however that was.

    Raises:
        OSError: no temporary file can be written.
    """
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        lock = _hold(directory)
        try:
            _remove_what_is_left()
            yield directory
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _hold(directory: Path) -> int:
    """Take a new lock; it has its name only when it is held."""
    unfinished = directory / _UNFINISHED
    lock = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unfinished.rename(directory / _LOCK)
    return lock


def _remove_what_is_left() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # its lock is held, or somebody else has just removed it
            if _is_left(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _is_left(directory: Path) -> bool:
    """Whether it is our own and nobody holds its lock any more."""
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        return False
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True
