"""Clients that go away before they are answered."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive


class ClientGoneError(Exception):
    """The client closed the connection: there is nobody to answer."""


class ClientWatch:
    """Watches the connection while work is done for the client, and ends the work if it is gone.

    To be used once the body was read::

        async with ClientWatch(receive) as client:
            ...
        if client.is_gone:
            ...

    The block is cancelled when the client goes away, and the cancellation ends with the block.
    """

    def __init__(self, receive: Receive) -> None:
        self.is_gone = False
        self._receive = receive
        self._leaving = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("only an asyncio task can be watched over")
        self._task = task
        self._cancellations = task.cancelling()
        self._watcher = loop.create_task(self._watch(), name="client watch")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        was_cancelled_here = self.is_gone
        self._leaving = True
        try:
            # A disconnect that the event loop has seen already has woken the watcher: let it run.
            await asyncio.sleep(0)  # noqa: TID251 - gives way, does not wait
        finally:
            self._watcher.cancel()
        if not was_cancelled_here:
            return False
        return self._task.uncancel() <= self._cancellations and kind is asyncio.CancelledError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        if not self._leaving:
            self._task.cancel()
