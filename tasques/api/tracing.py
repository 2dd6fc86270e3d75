"""Requests as transactions of Elastic APM. Import this module only if that is wanted."""

from __future__ import annotations

from typing import Any, Final

from elasticapm.utils.disttracing import TraceParent
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasques.api import operations
from tasques.api.headers import WORKER_ID, Headers, find_header
from tasques.api.health import LIVE_PATH, READY_PATH
from tasques.api.trace_context import OWN_TRACEPARENT, read_traceparent
from tasques.observability.apm import Agent

REQUEST: Final = "request"
LONG_POLL: Final = "long_poll"
"""The type of claims: they last as long as the worker waits, and would spoil other latencies."""

_NOT_TRACED: Final = frozenset({LIVE_PATH, READY_PATH, "/metrics"})
_WORKER_ID: Final = WORKER_ID.lower().encode()


class TracedRequests:
    """Makes each request a transaction named by the route's template; probes are left out.

    A valid `traceparent` header makes it part of the caller's trace. Labels say which queue, task
    and worker; neither the path nor the query, headers or bodies are sent.
    """

    def __init__(self, app: ASGIApp, agent: Agent) -> None:
        self._app = app
        self._agent = agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _NOT_TRACED:
            await self._app(scope, receive, send)
            return
        transaction = self._agent.begin(REQUEST, _parent(scope["headers"]))
        if transaction is None:
            await self._app(scope, receive, send)
            return
        scope[OWN_TRACEPARENT] = _hand_on(transaction)
        status = None

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            self._end(transaction, scope, status)

    def _end(self, transaction: Any, scope: Scope, status: int | None) -> None:
        template = getattr(scope.get("route"), "path_format", None)
        if template == operations.claim_tasks.path and scope["method"] == "POST":
            transaction.transaction_type = LONG_POLL
        transaction.label(**_labels(scope))
        name = f"{scope['method']} {template}" if template else "unknown route"
        if status is None:
            self._agent.end(name, "client gone", "unknown")
            return
        transaction.context["response"] = {"status_code": status}
        outcome = "failure" if status >= 500 else "success"
        self._agent.end(name, f"HTTP {status // 100}xx", outcome)


def _parent(headers: Headers) -> TraceParent | None:
    # `tracestate` is left out: the agent fails at odd sample rates in it.
    value = read_traceparent(headers)
    return None if value is None else TraceParent.from_string(value)


def _hand_on(transaction: Any) -> str:
    flags = "01" if transaction.is_sampled else "00"
    return f"00-{transaction.trace_parent.trace_id}-{transaction.id}-{flags}"


def _labels(scope: Scope) -> dict[str, str]:
    path = scope.get("path_params") or {}
    labels = {}
    if "queue" in path:
        labels["queue"] = path["queue"]
    if "id" in path:
        labels["task_id" if "queue" in path else "recurring_task_id"] = path["id"]
    if (worker := find_header(scope["headers"], _WORKER_ID)) is not None:
        labels["worker_id"] = worker.decode("utf-8", "replace")
    return {name: _encodable(str(text)) for name, text in labels.items()}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
