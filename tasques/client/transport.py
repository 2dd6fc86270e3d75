"""What both clients tell httpx, and what they make of its errors."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from tasques.client.batch_calls import BatchCalls
from tasques.client.calls import TaskCalls
from tasques.client.errors import NoAnswerError
from tasques.client.exchange import Answer, Exchange, Request
from tasques.client.recurring_calls import RecurringTaskCalls
from tasques.client.tracing import trace_headers
from tasques.clock import SystemClock

CONNECT_TIMEOUT: Final = 5.0
TRY_TIMEOUT: Final = 10.0
"""A server answers within 8 seconds, if only to say that it can not."""

PAST_PROXIES: Final[dict[str, None]] = dict.fromkeys(
    f"all://{host}" for host in ("localhost", "127.0.0.1", "[::1]")
)
"""Mounts by which httpx asks this machine itself, whatever HTTP_PROXY says."""

_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_ID_BYTES: Final = 16


class Calls:
    """All that can be asked, for one client."""

    def __init__(self, timeout: float, *, monotonic: Callable[[], float] | None = None) -> None:
        self.monotonic = SystemClock().monotonic if monotonic is None else monotonic
        exchange = Exchange(
            timeout=timeout,
            try_timeout=TRY_TIMEOUT,
            monotonic=self.monotonic,
            random=Random(),  # noqa: S311 - pauses are no secrets
        )
        self.tasks = TaskCalls(exchange, new_id)
        self.batches = BatchCalls(exchange, self.tasks)
        self.recurring_tasks = RecurringTaskCalls(exchange, new_id)


def new_id() -> str:
    """An id that nobody else has made or can guess."""
    return secrets.token_hex(_ID_BYTES)


def check_url(url: str) -> None:
    """See that an address is one, at once and not with the first request.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no address such as 'http://localhost:8080'")


def httpx_arguments(request: Request) -> dict[str, Any]:
    """The arguments of httpx's `request`."""
    named = {**request.headers, **trace_headers(request.traceparent)}
    headers = {name: value.encode() for name, value in named.items()}
    if request.body is not None:
        headers["Content-Type"] = b"application/json"
    return {
        "method": request.method,
        "url": request.path,
        "content": request.body,
        "headers": headers,
        "timeout": httpx.Timeout(request.timeout, connect=CONNECT_TIMEOUT),
    }


def answer_of(response: httpx.Response) -> Answer:
    """What httpx was told."""
    return Answer(response.status_code, response.content, response.headers.get("retry-after"))


def no_answer(error: httpx.RequestError) -> NoAnswerError:
    """What an error of httpx means."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return NoAnswerError(reason, may_have_arrived=not isinstance(error, _NOT_SENT))
