"""Between what clients use and the JSON on the wire. Members that nobody knows are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tasques.client.durations import duration_text, read_duration
from tasques.client.models import (
    Claim,
    Metadata,
    NewRecurringTask,
    NewTask,
    RecurringTask,
    RecurringTaskChange,
    Report,
    Result,
    Task,
    TaskDefinition,
    Version,
)

Members = dict[str, Any]


def members_of(
    new: NewTask | TaskDefinition | NewRecurringTask | RecurringTaskChange,
) -> Members:
    """The members to send; what is None is left out."""
    values = {name: getattr(new, name) for name in new.__dataclass_fields__}
    return {name: _sent(value) for name, value in values.items() if value is not None}


def _sent(value: Any) -> Any:
    match value:
        case timedelta():
            return duration_text(value)
        case datetime():
            if value.utcoffset() is None:
                raise ValueError(f"an instant needs a time zone: {value!r}")
            return value.isoformat()
        case TaskDefinition():
            return members_of(value)
        case Mapping():
            return dict(value)
        case _:
            return value


def read_task(members: Mapping[str, Any]) -> Task:
    """A task from an answer.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Task(
        id=members["id"],
        queue=members["queue"],
        kind=members["kind"],
        state=members["state"],
        priority=members["priority"],
        retry_times=members["retry_times"],
        attempted=members["attempted"],
        processing_timeout=read_duration(members["processing_timeout"]),
        run_at=datetime.fromisoformat(members["run_at"]),
        last_enqueued_at=datetime.fromisoformat(members["last_enqueued_at"]),
        metadata=_read_metadata(members["metadata"]),
        args=members.get("args"),
        context=members.get("context"),
        last_claimed=_read_claim(members.get("last_claimed")),
        recurring_task_id=members.get("recurring_task_id"),
        scheduled_for=_read_instant(members.get("scheduled_for")),
        is_archived=members.get("archived", False),
        traceparent=members.get("traceparent"),
    )


def read_tasks(items: Sequence[Mapping[str, Any]]) -> list[Task]:
    """Several tasks. Raises as `read_task`."""
    return [read_task(each) for each in items]


def read_recurring_task(members: Mapping[str, Any]) -> RecurringTask:
    """A recurring task from an answer. Raises as `read_task`."""
    return RecurringTask(
        id=members["id"],
        schedule_expression=members["schedule_expression"],
        skip_if_outstanding_tasks_exist=members["skip_if_outstanding_tasks_exist"],
        task_definition=_read_definition(members["task_definition"]),
        metadata=_read_metadata(members["metadata"]),
        time_zone=members.get("time_zone"),
        paused=members.get("paused", False),
        misfire_policy=members.get("misfire_policy", "fire_once"),
        next_fire_at=_read_instant(members.get("next_fire_at")),
        last_fired_at=_read_instant(members.get("last_fired_at")),
        last_task_id=members.get("last_task_id"),
        error=members.get("error"),
    )


def read_recurring_tasks(items: Sequence[Mapping[str, Any]]) -> list[RecurringTask]:
    """Several recurring tasks. Raises as `read_task`."""
    return [read_recurring_task(each) for each in items]


def read_instants(items: Sequence[str]) -> list[datetime]:
    """Several instants. Raises as `read_task`."""
    return [datetime.fromisoformat(each) for each in items]


def _read_metadata(members: Mapping[str, Any]) -> Metadata:
    version = members["version"]
    return Metadata(
        created_at=datetime.fromisoformat(members["created_at"]),
        modified_at=datetime.fromisoformat(members["modified_at"]),
        version=Version(version["seq_num"], version["primary_term"]),
    )


def _read_claim(members: Mapping[str, Any] | None) -> Claim | None:
    if members is None:
        return None
    report, result = members.get("last_report"), members.get("result")
    return Claim(
        worker_id=members["worker_id"],
        claimed_at=datetime.fromisoformat(members["claimed_at"]),
        times_out_at=datetime.fromisoformat(members["times_out_at"]),
        last_report=report
        and Report(at=datetime.fromisoformat(report["at"]), data=report.get("data")),
        result=result
        and Result(
            at=datetime.fromisoformat(result["at"]),
            success=result.get("success"),
            failure=result.get("failure"),
        ),
        claim_id=members.get("claim_id"),
    )


def _read_definition(members: Mapping[str, Any]) -> TaskDefinition:
    return TaskDefinition(
        queue=members["queue"],
        kind=members["kind"],
        args=members.get("args"),
        priority=members["priority"],
        retry_times=members["retry_times"],
        processing_timeout=read_duration(members["processing_timeout"]),
        context=members.get("context"),
    )


def _read_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
