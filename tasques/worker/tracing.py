"""A transaction of Elastic APM for each task, where the program has started the agent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasques.client import Task
from tasques.client.tracing import apm_traceparent


class Transaction:
    """What is going on; `result` is what it ended with.

    `traceparent` is its place in a trace, for those that are told about it.
    """

    result: str = "cancelled"
    error: BaseException | None = None
    traceparent: str | None = None


@contextmanager
def traced(task: Task) -> Iterator[Transaction]:
    """Trace a block as the work on a task, part of the task's trace.

    If its client was in none, that may be in `context.traceparent`.
    """
    transaction = Transaction()
    transaction.traceparent = task.traceparent
    apm = sys.modules.get("elasticapm")
    agent = None if apm is None else apm.get_client()
    if apm is None or agent is None:
        yield transaction
        return
    agent.begin_transaction("messaging", trace_parent=_parent(apm, task))
    transaction.traceparent = apm_traceparent(apm) or task.traceparent
    apm.label(queue=task.queue, kind=task.kind, task_id=task.id, attempt=task.attempted)
    try:
        yield transaction
    finally:
        if (error := transaction.error) is not None:
            agent.capture_exception((type(error), error, error.__traceback__))
        apm.set_transaction_outcome("failure" if error else "success")
        agent.end_transaction(f"{task.queue} {task.kind}", transaction.result)


def _parent(apm: Any, task: Task) -> Any:
    text = task.traceparent or (task.context or {}).get("traceparent")
    return apm.trace_parent_from_string(text) if isinstance(text, str) else None
