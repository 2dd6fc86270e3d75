"""Finding the worker that a command line names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tasques.worker.worker import Worker


class AppError(Exception):
    """What was named is no worker."""


def load_worker(app: str) -> Worker:
    """Import the worker that `module:name` stands for, also from the current directory.

    Raises:
        AppError: there is no such module or name, or it is no worker.
    """
    module_name, _, name = app.partition(":")
    if not (module_name and name):
        raise AppError(f"{app!r} should be like 'module:worker'.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, but lacks something itself
        raise AppError(f"There is no module {module_name!r} here.") from error
    worker = getattr(module, name, None)
    if not isinstance(worker, Worker):
        raise AppError(f"{name!r} in module {module_name!r} is no tasques.worker.Worker.")
    return worker
