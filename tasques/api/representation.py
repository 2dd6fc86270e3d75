"""Tasks as answers: the members in the order and the form that clients have always seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from tasques.domain.duration import format_duration
from tasques.domain.task import Claim, JsonText, Report, Result, Task, Version

_SEQ_NUM_MODULUS: Final = 2**31
_UNWRITTEN: Final = Version(0, 0)


def task_json(task: Task) -> bytes:
    """The JSON of a task; free-form parts are put in as they are."""
    return orjson.dumps(_members(task), option=orjson.OPT_UTC_Z)


def tasks_json(tasks: Sequence[Task]) -> bytes:
    """The JSON of several tasks."""
    return orjson.dumps([_members(task) for task in tasks], option=orjson.OPT_UTC_Z)


def _members(task: Task) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": task.id,
        "queue": task.queue,
        "retry_times": task.retry_times,
        "attempted": task.attempted,
        "kind": task.kind,
        "state": task.state.value,
        "priority": task.priority,
        "processing_timeout": format_duration(task.processing_timeout),
        "run_at": task.run_at,
    }
    put_json(members, "args", task.args)
    put_json(members, "context", task.context)
    if task.last_claimed is not None:
        members["last_claimed"] = _claim(task.last_claimed)
    members["last_enqueued_at"] = task.last_enqueued_at
    members["metadata"] = metadata(task.created_at, task.modified_at, task.version)
    if task.traceparent is not None:
        members["traceparent"] = task.traceparent
    if task.recurring_task_id is not None:
        members["recurring_task_id"] = task.recurring_task_id
    if task.scheduled_for is not None:
        members["scheduled_for"] = task.scheduled_for
    if task.archived:
        members["archived"] = True
    return members


def _claim(claim: Claim) -> dict[str, Any]:
    members: dict[str, Any] = {
        "worker_id": claim.worker_id,
        "claimed_at": claim.claimed_at,
        "times_out_at": claim.times_out_at,
    }
    if claim.last_report is not None:
        members["last_report"] = _report(claim.last_report)
    if claim.result is not None:
        members["result"] = _result(claim.result)
    if claim.claim_id is not None:
        members["claim_id"] = claim.claim_id
    return members


def _report(report: Report) -> dict[str, Any]:
    members: dict[str, Any] = {"at": report.at}
    put_json(members, "data", report.data)
    return members


def _result(result: Result) -> dict[str, Any]:
    members: dict[str, Any] = {"at": result.at}
    put_json(members, "failure", result.failure)
    put_json(members, "success", result.success)
    return members


def metadata(
    created_at: datetime, modified_at: datetime, version: Version | None
) -> dict[str, Any]:
    """The member `metadata`."""
    seq_no, primary_term = version or _UNWRITTEN
    return {
        "created_at": created_at,
        "modified_at": modified_at,
        "version": {
            # Old Java and Rust clients read 32 bits; nobody sends it back.
            "seq_num": seq_no % _SEQ_NUM_MODULUS,
            "primary_term": primary_term,
        },
    }


def put_json(members: dict[str, Any], name: str, text: JsonText | None) -> None:
    """Put in a free-form part as it is, if it is there."""
    if text is not None:
        members[name] = orjson.Fragment(text)
