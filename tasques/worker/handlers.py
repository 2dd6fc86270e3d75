"""The functions that work on tasks, by the kind of the task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from json import dumps
from typing import Any, Literal

from tasques.client import JsonObject
from tasques.worker.context import Context
from tasques.worker.errors import CancelledByWorker, RetryLater, Unclaim
from tasques.worker.failures import failure_of
from tasques.worker.threads import Threads

Handler = Callable[[Context], JsonObject | None] | Callable[[Context], Awaitable[JsonObject | None]]
"""Returns what is stored as the result; a plain function runs in a thread."""


class UnknownKindError(Exception):
    """No handler of this worker is for that kind of task."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What shall become of a task.

    Attributes:
        error: why it failed, if that is worth a warning.
    """

    outcome: Literal["done", "failed", "unclaimed"]
    data: JsonObject | None = None
    error: BaseException | None = None


class Handlers:
    """Knows the handler for each kind, and runs it."""

    def __init__(self) -> None:
        self._of_kind: dict[str, Handler] = {}
        self._threads = Threads()

    def add(self, kind: str, handler: Handler) -> None:
        """Use a handler for a kind.

        Raises:
            ValueError: there is one already.
        """
        if kind in self._of_kind:
            raise ValueError(f"there are two handlers for {kind!r}")
        self._of_kind[kind] = handler

    def runs_in_thread(self, kind: str) -> bool:
        """Whether the handler of a kind is a plain function, which can not be cancelled."""
        handler = self._of_kind.get(kind)
        return handler is not None and not _is_async(handler)

    async def run(self, context: Context) -> Ending:
        """Work on a task; whatever the handler raises is an ending too, but for cancellation."""
        try:
            data = await self._result(context)
            return Ending("done", _checked(data))
        except (Unclaim, CancelledByWorker):
            return Ending("unclaimed")
        except RetryLater as wish:
            return _storable(wish)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what it means is for the task to say
            return Ending("failed", failure_of(error), error)

    async def _result(self, context: Context) -> Any:
        handler = self._of_kind.get(context.task.kind)
        if handler is None:
            raise UnknownKindError(f"this worker has no handler for {context.task.kind!r}")
        if _is_async(handler):
            return await handler(context)  # type: ignore[misc] # an async function, as was looked
        return await self._threads.run(lambda: handler(context))


def _storable(wish: RetryLater) -> Ending:
    try:
        return Ending("failed", _checked(wish.data))
    except (TypeError, ValueError) as error:
        return Ending("failed", failure_of(error), error)


def _checked(data: Any) -> JsonObject | None:
    """What a handler returned, if it can be stored.

    Raises:
        TypeError, ValueError: it can not.
    """
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise TypeError(f"a handler returns a mapping or None, not {type(data).__name__}")
    dumps(dict(data), allow_nan=False)
    return data


def _is_async(handler: Handler) -> bool:
    return iscoroutinefunction(handler) or iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - whether it is async, not whether it can be called
