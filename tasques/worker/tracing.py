"""A transaction of Elastic APM for each task, where the program has started the agent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tasques.client import Task


class Transaction:
    """What is going on; `result` is what it ended with."""

    result: str = "cancelled"
    error: BaseException | None = None


@contextmanager
def traced(task: Task) -> Iterator[Transaction]:
    """Trace a block as the work on a task, part of the trace in `context.traceparent` if any."""
    transaction = Transaction()
    apm = sys.modules.get("elasticapm")
    agent = None if apm is None else apm.get_client()
    if apm is None or agent is None:
        yield transaction
        return
    agent.begin_transaction("messaging", trace_parent=_parent(apm, task.context))
    apm.label(queue=task.queue, kind=task.kind, task_id=task.id, attempt=task.attempted)
    try:
        yield transaction
    finally:
        if (error := transaction.error) is not None:
            agent.capture_exception((type(error), error, error.__traceback__))
        apm.set_transaction_outcome("failure" if error else "success")
        agent.end_transaction(f"{task.queue} {task.kind}", transaction.result)


def _parent(apm: Any, context: Mapping[str, Any] | None) -> Any:
    text = (context or {}).get("traceparent")
    return apm.trace_parent_from_string(text) if isinstance(text, str) else None
