"""Locks between processes; the kernel gives them back when their holder dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasques.embedded.errors import DataInUseError
from tasques.embedded.waiting import Deadline, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HANDOVER = 15.0  # seconds that a server may take to end after its starter was killed


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """One process at a time in here; `on_wait` is called when another one is inside."""
    with path.open("a") as handle:
        if not _try_lock(handle.fileno()):
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class DirectoryLock:
    """The right to use a data directory, held in a file `.lock` in it.

    The descriptor is handed to the started servers: as long as one of them lives the directory
    counts as used, even when the process that started it was killed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file that carries the lock."""
        if self._descriptor is None:
            raise ValueError("the lock is not held")
        return self._descriptor

    def acquire(self) -> None:
        """Take it.

        A server whose starter is dead is on its way out, so it is waited for.

        Raises:
            DataInUseError: a live instance has it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._directory / ".lock", flags, 0o600)
        try:
            self._wait_for(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait_for(self, descriptor: int) -> None:
        def look() -> bool | None:
            if _try_lock(descriptor):
                return True
            if holder := _live_holder(descriptor):
                raise DataInUseError(self._directory, f"process {holder}")
            return None

        if poll(look, Deadline(_HANDOVER)) is None:
            raise DataInUseError(self._directory, "a server whose starter is gone")


def is_abandoned(directory: Path) -> bool:
    """Whether a directory was locked once and is not any more."""
    with suppress(OSError), (directory / ".lock").open() as handle:
        return _try_lock(handle.fileno())
    return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _live_holder(descriptor: int) -> int | None:
    """The process that wrote its id into the lock, if there still is one."""
    text = os.pread(descriptor, 20, 0)
    if text.isdigit() and Path("/proc", text.decode()).exists():
        return int(text)
    return None
