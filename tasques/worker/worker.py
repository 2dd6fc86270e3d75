"""The worker as programs use it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from tasques.client import AsyncClient
from tasques.worker.handlers import Handler, Handlers
from tasques.worker.work import Plan, Work

log = logging.getLogger(__name__)

SomeHandler = TypeVar("SomeHandler", bound=Handler)


class Worker:
    """Works on the tasks of some queues, with a handler for each kind.

    While a task is worked on, signs of life are sent at a third of its processing time-out. What
    can not be told the server now is told it later; a worker outlives servers and networks.

    Args:
        client: how to reach the server.
        queues: where to take tasks from; none means all.
        concurrency: how many tasks are worked on at the same time.
        worker_id: no two workers may have the same; made anew when None.
        block_for: how long a claim waits for tasks.
        stop_timeout: how long running tasks may take to end when the worker is told to stop.
            Those that take longer are given back.

    Raises:
        TypeError, ValueError: `queues` is one name, or `concurrency` less than one.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        queues: Iterable[str],
        concurrency: int = 10,
        worker_id: str | None = None,
        block_for: timedelta = timedelta(seconds=20),
        stop_timeout: timedelta = timedelta(seconds=20),
    ) -> None:
        if isinstance(queues, str):
            raise TypeError(f"queues must be a list of names, not {queues!r}")
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self.client = client
        self.queues = tuple(queues)
        self.concurrency = concurrency
        self.worker_id = worker_id or _new_worker_id()
        self._block_for = block_for
        self._stop_timeout = stop_timeout
        self._handlers = Handlers()
        self._work: Work | None = None

    def handler(self, kind: str) -> Callable[[SomeHandler], SomeHandler]:
        """Use the decorated function for the tasks of a kind.

        It takes a `Context`, and returns what to store as the result: a JSON object or None. An
        async function runs on the event loop, which it must not block; a plain one in a thread.
        An exception ends the attempt as failed; see also `Unclaim` and `RetryLater`.

        Raises:
            ValueError: there is a handler for that kind already.
        """

        def register(function: SomeHandler) -> SomeHandler:
            self._handlers.add(kind, function)
            return function

        return register

    async def run(self) -> None:
        """Work until `stop`. Cancelled, it leaves its tasks to their time-outs."""
        await self._run(until_empty=False)

    async def drain(self) -> None:
        """Work until there is nothing to do now; for tests and for jobs that are started on time.

        Tasks that were created within the last second may be left.
        """
        await self._run(until_empty=True)

    def stop(self) -> None:
        """Claim no more, let running tasks end, and return from `run`; to be called on its loop.

        The second call gives running tasks back at once.
        """
        if self._work is not None:
            self._work.stop()

    def main(self) -> None:
        """Run as a process: until SIGTERM or Ctrl-C; the second ends running tasks at once."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with self.client:
            await self.run()

    async def _run(self, *, until_empty: bool) -> None:
        if self._work is not None:
            raise RuntimeError("this worker runs already")
        plan = Plan(
            queues=self.queues,
            concurrency=self.concurrency,
            worker_id=self.worker_id,
            block_for=self._block_for,
            stop_timeout=self._stop_timeout,
        )
        self._work = Work(plan, self.client, self._handlers)
        names = {"worker_id": self.worker_id, "queues": list(self.queues)}
        log.info("worker started", extra=names | {"concurrency": self.concurrency})
        try:
            await self._work.run(until_empty=until_empty)
        finally:
            self._work = None
        log.info("worker stopped", extra=names)


def _new_worker_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
