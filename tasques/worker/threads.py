"""Threads for handlers that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

_Work = tuple["Future[Any]", Callable[[], Any]]


class Threads:
    """Threads that are made when they are needed, and kept.

    Unlike those of `concurrent.futures` they do not keep the process from ending: a handler that
    never returns must not.
    """

    def __init__(self) -> None:
        self._idle = threading.Semaphore(0)
        self._work: SimpleQueue[_Work] = SimpleQueue()

    async def run(self, function: Callable[[], Any]) -> Any:
        """What a function returns or raises, in a thread, with the context of the caller.

        When the caller is cancelled the function runs on, and what it returns is dropped.
        """
        context = copy_context()
        future: Future[Any] = Future()
        self._work.put((future, lambda: context.run(function)))
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._loop, name="tasques-handler", daemon=True).start()
        return await asyncio.wrap_future(future)

    def _loop(self) -> None:
        while True:
            _do(*self._work.get())
            self._idle.release()


def _do(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        returned = function()
    except StopIteration as error:  # which no future can hold
        future.set_exception(RuntimeError(f"the handler raised {error!r}"))
    except BaseException as error:  # noqa: BLE001 - it is handed over, whatever it is
        future.set_exception(error)
    else:
        future.set_result(returned)
