"""Beginning anew when the program's files change, for development."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tasques.worker.worker import Worker

log = logging.getLogger(__name__)

_INTERVAL: Final = 0.5  # seconds between looks
_NOT_OURS: Final = {"node_modules", "site-packages", "__pycache__"}


class SourceFiles:
    """The Python files in and below a directory, as they were at first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._before = self._state()

    def have_changed(self) -> bool:
        """Whether one was changed, made or removed since."""
        return self._state() != self._before

    def _state(self) -> dict[str, int]:
        return dict(self._find())

    def _find(self) -> Iterator[tuple[str, int]]:
        for folder, folders, files in os.walk(self._directory):
            folders[:] = [each for each in folders if each[0] != "." and each not in _NOT_OURS]
            for name in files:
                if name.endswith(".py"):
                    path = f"{folder}/{name}"
                    with suppress(FileNotFoundError):
                        yield path, os.stat(path).st_mtime_ns  # noqa: PTH116 - thousands, twice a second


def run_and_reload(load: Callable[[], Worker]) -> None:
    """Run a worker, and begin the whole process anew whenever its files change.

    A program that can not be loaded is tried again once something has changed.
    """
    files = SourceFiles(Path.cwd())
    try:
        worker = load()
    except Exception:
        log.exception("the program does not load: waiting for a change")
        _wait_for_change(files)
    else:
        threading.Thread(target=_stop_on_change, args=[files], daemon=True).start()
        worker.main()
    if files.have_changed():
        log.info("the program has changed: starting anew")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def _stop_on_change(files: SourceFiles) -> None:
    _wait_for_change(files)
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_change(files: SourceFiles) -> None:
    while not files.have_changed():
        time.sleep(_INTERVAL)
