"""Requests as transactions of Elastic APM. Import this module only if that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tasques.api import operations
from tasques.api.access_log import CLIENT_GONE, STATUS
from tasques.api.headers import WORKER_ID, find_header
from tasques.api.health import LIVE_PATH, READY_PATH
from tasques.api.lean_route import TASKS
from tasques.api.metrics import METRICS_PATH
from tasques.api.trace_context import TRANSACTION, read_traceparent
from tasques.domain.task import Task
from tasques.observability.tracer import Tracer
from tasques.observability.tracing import MAX_LINKS, Label, Place, Transaction

REQUEST: Final = "request"
LONG_POLL: Final = "long_poll"
"""The type of claims: they last as long as the worker waits, and would spoil other latencies."""

_NOT_TRACED: Final = frozenset({LIVE_PATH, READY_PATH, METRICS_PATH})
_WORKER_ID: Final = WORKER_ID.lower().encode()
_RESULTS: Final = tuple(f"HTTP {hundred}xx" for hundred in range(10))


class TracedRequests:
    """Makes each request a transaction named by the route's template; probes are left out.

    A valid `traceparent` header makes it part of the caller's trace. Labels say which queue, task,
    kind and worker; neither the path nor the query, headers or bodies are sent. It is linked to the
    traces of the tasks that it is about, and a claim tells these how long the tasks have waited.
    What it wraps has to tell the status, as `AccessLog` does.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _NOT_TRACED:
            await self._app(scope, receive, send)
            return
        traceparent = read_traceparent(scope["headers"])
        transaction = self._tracer.begin(REQUEST, traceparent, is_limited=True)
        if transaction is None:
            await self._app(scope, receive, send)
            return
        scope[TRANSACTION] = transaction
        try:
            await self._app(scope, receive, send)
        finally:
            self._end(transaction, scope, scope.get(STATUS, CLIENT_GONE))

    def _end(self, transaction: Transaction, scope: Scope, status: int) -> None:
        if not transaction.is_sampled:
            self._tracer.discard(transaction)
            return
        template = getattr(scope.get("route"), "path_format", None)
        tasks: Sequence[Task] = scope.get(TASKS, ())
        transaction.labels |= _labels(scope, tasks)
        if template == operations.claim_tasks.path and scope["method"] == "POST":
            transaction.kind = LONG_POLL
            self._note_waits(transaction, tasks)
        transaction.link(task.traceparent for task in tasks)
        name = f"{scope['method']} {template}" if template else "unknown route"
        if status == CLIENT_GONE:
            self._tracer.end(transaction, name, "client gone", "unknown")
        else:
            transaction.status = status
            outcome = "failure" if status >= 500 else "success"
            self._tracer.end(transaction, name, _RESULTS[status // 100], outcome)

    def _note_waits(self, transaction: Transaction, tasks: Sequence[Task]) -> None:
        """Tell the traces of claimed tasks how long these have waited."""
        for task in tasks[:MAX_LINKS]:
            claim = task.last_claimed
            if task.traceparent is None or claim is None or claim.wait_ms is None:
                continue
            enqueued_by = Place.read(task.traceparent)
            if enqueued_by.is_sampled:
                self._tracer.add_queue_wait(
                    transaction,
                    enqueued_by,
                    begun=claim.claimed_at - timedelta(milliseconds=claim.wait_ms),
                    milliseconds=claim.wait_ms,
                    labels=_labels_of(task),
                )


def _labels(scope: Scope, tasks: Sequence[Task]) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    path: Mapping[str, Any] = scope.get("path_params") or {}
    if "queue" in path:
        labels["queue"] = str(path["queue"])
    if "id" in path:
        labels["task_id" if "queue" in path else "recurring_task_id"] = str(path["id"])
    if (worker := find_header(scope["headers"], _WORKER_ID)) is not None:
        labels["worker_id"] = worker.decode("utf-8", "replace")
    if len(tasks) == 1:
        labels |= _labels_of(tasks[0])
    elif tasks:
        labels |= _labels_of_all(tasks)
    return labels


def _labels_of(task: Task) -> dict[str, Label]:
    labels: dict[str, Label] = {"queue": task.queue, "kind": task.kind, "task_id": task.id}
    if (claim := task.last_claimed) is not None:
        labels["attempt"] = task.attempted
        if claim.wait_ms is not None:
            labels["wait_ms"] = claim.wait_ms
        if claim.run_ms is not None:
            labels["run_ms"] = claim.run_ms
    return labels


def _labels_of_all(tasks: Sequence[Task]) -> dict[str, Label]:
    """What several tasks have in common, and the longest wait."""
    labels: dict[str, Label] = {"count": len(tasks)}
    for name, values in (
        ("queue", {task.queue for task in tasks}),
        ("kind", {task.kind for task in tasks}),
    ):
        if len(values) == 1:
            labels[name] = values.pop()
    waits = [claim.wait_ms for task in tasks if (claim := task.last_claimed) is not None]
    if known := [wait for wait in waits if wait is not None]:
        labels["wait_ms"] = max(known)
    return labels
