"""One line for each request, without anything in it that only the client should know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from os import getpid
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasques.api.answers import send_answer
from tasques.api.errors import INTERNAL_ERROR, error_answer
from tasques.api.health import LIVE_PATH, READY_PATH
from tasques.api.metrics import METRICS_PATH
from tasques.api.operations import claim_tasks
from tasques.api.trace_context import read_trace_id
from tasques.domain.errors import ShuttingDownError
from tasques.domain.ports import Clock

log = logging.getLogger("tasques.api.access")
slow_log = logging.getLogger("tasques.api.slow")

CLIENT_GONE: Final = 499
"""What is logged as the status when the client left before it was answered."""

STATUS: Final = "tasques.status"
"""The key in a scope under which the status is, once the request was dealt with."""

OnAnswered = Callable[[str, str | None, int, float], None]
"""Told of the method, the route's template, the status, and the seconds that it took."""

_STOPPED: Final = ShuttingDownError("The server stopped before the request was complete.")
_PROBES: Final = frozenset({LIVE_PATH, READY_PATH, METRICS_PATH})


class AccessLog:
    """Logs how each request was answered, and makes sure that it is.

    Logged are the method, the route's template, the status, the milliseconds, and the trace id of
    a `traceparent` header; never a path, a query, a header or a body. What no one else caught is
    logged here, with its traceback. A request that is cancelled was not complete when the server
    stopped. Requests that take at least `slow_after` seconds get a warning, too (0: none), but for
    claims, which wait for tasks. `on_answered` is told of each request but for those of probes.
    """

    def __init__(
        self,
        app: ASGIApp,
        clock: Clock,
        *,
        enabled: bool,
        slow_after: float = 0.0,
        on_answered: OnAnswered | None = None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._enabled = enabled
        self._slow_after = slow_after or float("inf")
        self._on_answered = on_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        status = CLIENT_GONE

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except asyncio.CancelledError:  # the server stops, and the client is slow
            if status == CLIENT_GONE:
                await send_answer(noting_send, error_answer(_STOPPED))
        except Exception:
            log.exception("a request failed", extra=_about(scope, 500))
            if status == CLIENT_GONE:
                await send_answer(noting_send, INTERNAL_ERROR)
        finally:
            self._note(scope, status, self._clock.monotonic() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        scope[STATUS] = status
        if self._enabled:
            self._log(scope, status, seconds)
        if seconds >= self._slow_after and route != claim_tasks.path:
            extra = {**_about(scope, status), "duration_ms": round(seconds * 1000, 3)}
            slow_log.warning("slow request", extra=extra)
        if self._on_answered is not None and route not in _PROBES:
            self._on_answered(scope["method"], route, status, seconds)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        about = _about(scope, status)
        level = logging.DEBUG if status < 400 and about["http.route"] in _PROBES else logging.INFO
        if not log.isEnabledFor(level):
            return
        about["duration_ms"] = round(seconds * 1000, 3)
        log.handle(_record(level, self._clock.now().timestamp(), about))


_TEMPLATE: Final = vars(logging.makeLogRecord({"name": log.name, "msg": "request"})).copy()


def _record(level: int, created: float, about: dict[str, object]) -> logging.LogRecord:
    """What `log.log` would make, without looking for who called it: half the price of a line."""
    record = logging.LogRecord.__new__(logging.LogRecord)
    vars(record).update(
        _TEMPLATE,
        levelno=level,
        levelname=logging.getLevelName(level),
        created=created,
        msecs=created % 1 * 1000,
        process=getpid(),
        **about,
    )
    return record


def _route(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path_format", None)


def _about(scope: Scope, status: int) -> dict[str, object]:
    about: dict[str, object] = {
        "http.request.method": scope["method"],
        "http.route": _route(scope),
        "http.response.status_code": status,
    }
    if (trace_id := read_trace_id(scope["headers"])) is not None:
        about["trace.id"] = trace_id
    return about
