"""Examples of recurring tasks for the API document."""

from __future__ import annotations

from typing import Final

from tasques.api.examples import QUEUED_TASK, Example

NEW_RECURRING_TASK: Final[Example] = {
    "id": "nightly-report",
    "schedule_expression": "30 2 * * MON-FRI",
    "time_zone": "Europe/Berlin",
    "skip_if_outstanding_tasks_exist": True,
    "task_definition": {
        "queue": "reports",
        "kind": "build_report",
        "processing_timeout": "1h",
        "args": {"scope": "yesterday"},
    },
    "misfire_policy": "fire_once",
}
UPDATE: Final[Example] = {"schedule_expression": "0 4 * * *", "paused": False}
RECURRING_TASK: Final[Example] = {
    "id": "nightly-report",
    "schedule_expression": "30 2 * * MON-FRI",
    "skip_if_outstanding_tasks_exist": True,
    "task_definition": {
        "queue": "reports",
        "retry_times": 25,
        "kind": "build_report",
        "priority": 0,
        "processing_timeout": "1h0m0s",
        "args": {"scope": "yesterday"},
    },
    "metadata": {
        "created_at": "2026-03-01T12:00:00.25Z",
        "modified_at": "2026-03-01T12:00:00.25Z",
        "version": {"seq_num": 17, "primary_term": 1},
    },
    "time_zone": "Europe/Berlin",
    "paused": False,
    "misfire_policy": "fire_once",
    "next_fire_at": "2026-03-03T01:30:00Z",
    "last_fired_at": "2026-03-02T01:30:00.04Z",
    "last_task_id": "nightly-report@2026-03-02T01:30:00Z",
}
UPDATED: Final[Example] = RECURRING_TASK | {
    "schedule_expression": "0 4 * * *",
    "next_fire_at": "2026-03-03T03:00:00Z",
}
DELETED: Final[Example] = RECURRING_TASK | {"next_fire_at": None}
UPCOMING: Final = ["2026-03-03T01:30:00Z", "2026-03-04T01:30:00Z", "2026-03-05T01:30:00Z"]
RUN: Final[Example] = {
    **QUEUED_TASK,
    "id": "nightly-report@run-h1cNfAq20oQm7vQ0bY2uXg",
    "queue": "reports",
    "kind": "build_report",
    "recurring_task_id": "nightly-report",
}

ERRORS: Final[dict[int, tuple[str, Example]]] = {
    400: (
        "The request can not succeed as it is.",
        {
            "message": "schedule_expression: must not be empty\ntask_definition.kind: is required",
            "code": "invalid_request",
        },
    ),
    404: (
        "There is no such recurring task.",
        {
            "message": "There is no recurring task 'nightly-report'.",
            "code": "recurring_task_not_found",
        },
    ),
    409: (
        "Another request was first, or what is stored is broken.",
        {
            "message": "There is a recurring task 'nightly-report' already.",
            "code": "recurring_task_already_exists",
        },
    ),
}
