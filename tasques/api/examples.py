"""Examples for the API document."""

from __future__ import annotations

from typing import Any, Final

Example = dict[str, Any]

NEW_TASK: Final[Example] = {
    "queue": "mail",
    "kind": "send_welcome",
    "args": {"customer": 4711, "language": "ca"},
    "priority": 5,
    "retry_times": 10,
    "processing_timeout": "5m",
}
CLAIM: Final[Example] = {"queues": ["mail", "invoices"], "amount": 2, "block_for": "10s"}
REPORT: Final[Example] = {"data": {"percent": 40}}
SUCCESS: Final[Example] = {"data": {"message_id": "20260301.8142@example.org"}}
FAILURE: Final[Example] = {"data": {"error": "The mail server did not answer."}}

QUEUED_TASK: Final[Example] = {
    "id": "9f2c5a0e4be84d6d8f0c63d2b4a1e7c3",
    "queue": "mail",
    "retry_times": 10,
    "attempted": 0,
    "kind": "send_welcome",
    "state": "queued",
    "priority": 5,
    "processing_timeout": "5m0s",
    "run_at": "2026-03-01T12:00:00.25Z",
    "args": {"customer": 4711, "language": "ca"},
    "last_enqueued_at": "2026-03-01T12:00:00.25Z",
    "metadata": {
        "created_at": "2026-03-01T12:00:00.25Z",
        "modified_at": "2026-03-01T12:00:00.25Z",
        "version": {"seq_num": 4012, "primary_term": 1},
    },
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
_CLAIM: Final[Example] = {
    "worker_id": "mailer-7",
    "claimed_at": "2026-03-01T12:00:03Z",
    "times_out_at": "2026-03-01T12:05:03Z",
}
_CLAIM_ID: Final[Example] = {"claim_id": "h1cNfAq20oQm7vQ0bY2uXg"}


def _moved(state: str, *, attempted: int = 1, **claim: Any) -> Example:
    return {
        **{name: value for name, value in QUEUED_TASK.items() if name in _BEFORE_CLAIM},
        "attempted": attempted,
        "state": state,
        "last_claimed": _CLAIM | claim | _CLAIM_ID,
        **{name: value for name, value in QUEUED_TASK.items() if name not in _BEFORE_CLAIM},
    }


_BEFORE_CLAIM: Final = tuple(QUEUED_TASK)[: tuple(QUEUED_TASK).index("last_enqueued_at")]
CLAIMED_TASK: Final = _moved("claimed")
UNCLAIMED_TASK: Final = _moved("queued", attempted=0)
REPORTED_TASK: Final = _moved(
    "claimed",
    times_out_at="2026-03-01T12:06:10Z",
    last_report={"at": "2026-03-01T12:01:10Z", **REPORT},
)
DONE_TASK: Final = _moved("done", result={"at": "2026-03-01T12:01:30Z", "success": SUCCESS["data"]})
FAILED_TASK: Final = _moved(
    "failed", result={"at": "2026-03-01T12:01:30Z", "failure": FAILURE["data"]}
)
FAILED_TASK["run_at"] = "2026-03-01T12:01:57Z"

NEW_TASK_BATCH: Final[Example] = {"tasks": [NEW_TASK, {"id": "9f2c5a", **NEW_TASK}]}
TASK_RESULT_BATCH: Final[Example] = {
    "results": [
        {"queue": "mail", "id": QUEUED_TASK["id"], "outcome": "done", **SUCCESS},
        {"queue": "mail", "id": "unknown", "outcome": "failed", **FAILURE},
    ]
}
CREATED_BATCH: Final[Example] = {
    "items": [
        {"status": 201, "task": QUEUED_TASK},
        {
            "status": 409,
            "error": {
                "message": "There is a task '9f2c5a' in queue 'mail' already.",
                "code": "task_already_exists",
            },
        },
    ]
}
FINISHED_BATCH: Final[Example] = {
    "items": [
        {"status": 200, "task": DONE_TASK},
        {
            "status": 404,
            "error": {
                "message": "There is no task 'unknown' in queue 'mail'.",
                "code": "task_not_found",
            },
        },
    ]
}

ERRORS: Final[dict[int, tuple[str, Example]]] = {
    400: (
        "The request can not succeed as it is.",
        {"message": "queue: must be in lower case\nkind: is required", "code": "invalid_request"},
    ),
    401: (
        "Users are configured, and this is none of them.",
        {
            "message": "A user name and a password that this server knows are needed.",
            "code": "not_authenticated",
        },
    ),
    403: (
        "Another worker holds the task.",
        {
            "message": "Task '9f2c5a' in queue 'mail' is not claimed by worker 'mailer-8'.",
            "code": "not_owned_by_worker",
        },
    ),
    404: (
        "There is no such task.",
        {"message": "There is no task '9f2c5a' in queue 'mail'.", "code": "task_not_found"},
    ),
    409: (
        "Another request was first.",
        {
            "message": "There is a task '9f2c5a' in queue 'mail' already.",
            "code": "task_already_exists",
        },
    ),
    413: (
        "The body is too large.",
        {"message": "The body must not have more than 5242880 bytes.", "code": "too_large"},
    ),
    500: (
        "A fault of the server; its log says which.",
        {"message": "Something went wrong in this server.", "code": "internal_error"},
    ),
    503: (
        "Not now; the header `Retry-After` says in how many seconds to try again.",
        {"message": "Elasticsearch does not answer.", "code": "store_unavailable"},
    ),
}
