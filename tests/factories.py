"""Values for tests: each factory fills in what the test does not care about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from tasques.domain.recurring import RecurringTask, TaskDefinition
from tasques.domain.task import NewTask, Task

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""The instant at which tests begin."""

_numbers: Final = count()


def a_new_task(**changes: Any) -> NewTask:
    """What a client enqueues: due at once, four attempts of 30 minutes."""
    members: dict[str, Any] = {
        "id": "task-1",
        "queue": "mail",
        "kind": "send",
        "priority": 0,
        "retry_times": 3,
        "processing_timeout": timedelta(minutes=30),
        "run_at": START,
    }
    return NewTask(**members | changes)


def a_task(**changes: Any) -> Task:
    """A queued task that is due at `START`, with an incarnation of its own."""
    task = Task.enqueue(a_new_task(), at=START, incarnation=f"incarnation-{next(_numbers):010}")
    return task._replace(**changes)


def a_claimed_task(**changes: Any) -> Task:
    """A task that `worker-1` claimed at `START`, by the claim `claim-1`."""
    task = a_task().claim(worker_id="worker-1", at=START, claim_id="claim-1")
    return task._replace(**changes)


def a_definition(**changes: Any) -> TaskDefinition:
    """What a recurring task enqueues."""
    members: dict[str, Any] = {
        "queue": "mail",
        "kind": "send",
        "retry_times": 3,
        "priority": 0,
        "processing_timeout": timedelta(minutes=30),
    }
    return TaskDefinition(**members | changes)


def a_recurring_task(**changes: Any) -> RecurringTask:
    """One that was made at `START`, for every minute, with an incarnation of its own."""
    members: dict[str, Any] = {
        "id": "recurring-1",
        "schedule_expression": "* * * * *",
        "definition": a_definition(),
        "created_at": START,
        "modified_at": START,
        "schedule_since": START,
        "incarnation": f"incarnation-{next(_numbers):010}",
    }
    return RecurringTask(**members | changes)
