"""Requests to Elasticsearch that are held until a test lets them go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from proxy import Proxy, Request, Response

PATIENCE = 60.0  # seconds; what is slow here is the machine


class Gate:
    """Holds the first request that is meant; a `Fault` for the proxy.

    To be used from another thread than the proxy's.
    """

    def __init__(
        self, is_meant: Callable[[Request], bool], *, executed: bool, answered: bool = True
    ) -> None:
        """Make a closed gate.

        Args:
            is_meant: which request to hold.
            executed: whether to have it executed before it is held, instead of after.
            answered: whether its answer gets through in the end.
        """
        self._is_meant = is_meant
        self._is_executed = executed
        self._is_answered = answered
        self._is_taken = False
        self._reached = Event()
        self._open = Event()
        self._passed = Event()

    async def __call__(self, request: Request) -> Response | None:
        if self._is_taken or not self._is_meant(request):
            return await request.forward()
        self._is_taken = True
        response = await request.forward() if self._is_executed else None
        self._reached.set()
        await asyncio.to_thread(self._open.wait, PATIENCE)
        if response is None:
            response = await request.forward()
        self._passed.set()
        return response if self._is_answered else None

    def wait_until_reached(self) -> None:
        """Wait until the request is held."""
        assert self._reached.wait(PATIENCE), "there was no such request"

    def open(self) -> None:
        """Let the request, or its answer, go on; return when Elasticsearch has executed it."""
        self._open.set()
        assert not self._is_taken or self._passed.wait(PATIENCE), "it was not executed"


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """A proxy that runs in a thread of its own, for tests that block."""
    proxy = Proxy(target)
    is_open, is_over = Event(), Event()

    async def serve() -> None:
        async with proxy:
            is_open.set()
            await asyncio.to_thread(is_over.wait)

    thread = Thread(target=_run, args=(serve,))
    thread.start()
    try:
        assert is_open.wait(PATIENCE)
        yield proxy
    finally:
        is_over.set()
        thread.join()


def _run(main: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner() as runner:
        runner.run(main())
