"""What `tasques worker` does."""

from __future__ import annotations

import logging

from tasques.observability import logs
from tasques.worker.loading import AppError, load_worker
from tasques.worker.reloading import run_and_reload
from tasques.worker.worker import Worker

__all__ = ["AppError", "run"]


def run(app: str, *, concurrency: int | None, reload: bool) -> None:
    """Run the worker that `module:name` stands for until it is told to stop.

    Logs are written as those of a server, unless the program has set up its own.

    Raises:
        AppError: there is none.
    """

    def load() -> Worker:
        try:
            worker = load_worker(app)
        finally:
            if not logging.getLogger().handlers:
                logs.configure()
        if concurrency is not None:
            worker.concurrency = concurrency
        return worker

    if reload:
        run_and_reload(load)
    else:
        load().main()
