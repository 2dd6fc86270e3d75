"""Recurring tasks as documents and back: pure functions. The forms are those of tasks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, TypeVar

import orjson

from tasques.domain.errors import CorruptDocumentError, InvalidRequestError
from tasques.domain.instant import format_instant, parse_instant
from tasques.domain.names import check_kind, check_queue
from tasques.domain.recurring import (
    BrokenRecurringTask,
    MisfirePolicy,
    PendingTask,
    RecurringTask,
    StoredRecurringTask,
    TaskDefinition,
)
from tasques.domain.task import JsonText, Version
from tasques.repository.members import Source, unknown_members

_MICROSECOND: Final = timedelta(microseconds=1)
_KNOWN_MEMBERS: Final = frozenset(
    {
        "id",
        "incarnation",
        "is_deleted",
        "last_fired_at",
        "last_instant",
        "last_task_id",
        "metadata",
        "misfire_policy",
        "paused",
        "pending",
        "schedule_expression",
        "schedule_since",
        "skip_if_outstanding_tasks_exist",
        "task_definition",
        "time_zone",
        "write_id",
    }
)
_KNOWN_OF_METADATA: Final = frozenset({"created_at", "modified_at"})
_KNOWN_OF_DEFINITION: Final = frozenset(
    {"args", "context", "kind", "priority", "processing_timeout", "queue", "retry_times"}
)
_MAKES_NO_SENSE: Final = (
    AttributeError,
    InvalidRequestError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)

T = TypeVar("T")


def to_document(task: RecurringTask, write_id: str) -> bytes:
    """The document of a recurring task, as one line of JSON."""
    optional = {
        "time_zone": task.time_zone,
        "last_instant": task.last_instant and format_instant(task.last_instant),
        "last_fired_at": task.last_fired_at and format_instant(task.last_fired_at),
        "last_task_id": task.last_task_id,
        "pending": [_pending_document(each) for each in task.pending] or None,
    }
    document: dict[str, object] = {
        **task.unknown_members,
        "id": task.id,
        "schedule_expression": task.schedule_expression,
        "skip_if_outstanding_tasks_exist": task.skip_if_outstanding_tasks_exist,
        "task_definition": _definition_document(task.definition),
        "paused": task.paused,
        "misfire_policy": task.misfire_policy,
        "is_deleted": task.is_deleted,
        "schedule_since": format_instant(task.schedule_since),
        "metadata": {
            **task.unknown_metadata,
            "created_at": format_instant(task.created_at),
            "modified_at": format_instant(task.modified_at),
        },
        "incarnation": task.incarnation,
        "write_id": write_id,
    }
    document |= {name: value for name, value in optional.items() if value is not None}
    return orjson.dumps(document)


def _definition_document(definition: TaskDefinition) -> dict[str, object]:
    document: dict[str, object] = {
        **definition.unknown_members,
        "queue": definition.queue,
        "kind": definition.kind,
        "retry_times": definition.retry_times,
        "priority": definition.priority,
        "processing_timeout": definition.processing_timeout // _MICROSECOND * 1000,
    }
    if definition.args is not None:
        document["args"] = definition.args
    if definition.context is not None:
        document["context"] = definition.context
    return document


def _pending_document(pending: PendingTask) -> dict[str, object]:
    return {
        "queue": pending.queue,
        "task_id": pending.task_id,
        "instant": format_instant(pending.instant),
    }


def from_document(source: Source, version: Version, found_id: str) -> StoredRecurringTask:
    """The recurring task that a document holds, or what is wrong with it."""
    try:
        task = _task(source, version, found_id)
    except _MAKES_NO_SENSE as error:
        reason = f"{type(error).__name__}: {error}"
        return BrokenRecurringTask(id=found_id, reason=reason, version=version, members=source)
    if task.is_deleted:  # its schedule is nobody's concern any more
        return task
    try:
        task.schedule  # noqa: B018 - reading it is the check
    except CorruptDocumentError as error:
        return BrokenRecurringTask(
            id=found_id, reason=error.reason, version=version, task=task, members=source
        )
    return task


def _task(source: Source, version: Version, found_id: str) -> RecurringTask:
    metadata = source["metadata"]
    return RecurringTask(
        id=_same(source, found_id),
        schedule_expression=_member(source, "schedule_expression", str),
        time_zone=_optional(source, "time_zone", str),
        skip_if_outstanding_tasks_exist=_member(source, "skip_if_outstanding_tasks_exist", bool),
        definition=_definition(source["task_definition"]),
        paused=_member(source, "paused", bool),
        misfire_policy=MisfirePolicy(source["misfire_policy"]),
        created_at=_instant(metadata, "created_at"),
        modified_at=_instant(metadata, "modified_at"),
        schedule_since=_instant(source, "schedule_since"),
        last_instant=_optional_instant(source, "last_instant"),
        pending=tuple(_pending(each) for each in source.get("pending", ())),
        last_fired_at=_optional_instant(source, "last_fired_at"),
        last_task_id=_optional(source, "last_task_id", str),
        is_deleted=_member(source, "is_deleted", bool),
        incarnation=_member(source, "incarnation", str),
        version=version,
        unknown_members=unknown_members(source, _KNOWN_MEMBERS),
        unknown_metadata=unknown_members(metadata, _KNOWN_OF_METADATA),
    )


def _same(source: Source, found_id: str) -> str:
    if (stated := _member(source, "id", str)) != found_id:
        raise ValueError(f"id: is {stated!r}")
    return stated


def _definition(source: Source) -> TaskDefinition:
    args, context = _optional(source, "args", str), _optional(source, "context", str)
    nanoseconds = _member(source, "processing_timeout", int)
    return TaskDefinition(
        queue=check_queue(_member(source, "queue", str), "task_definition.queue"),
        kind=check_kind(_member(source, "kind", str), "task_definition.kind"),
        retry_times=_member(source, "retry_times", int),
        priority=_member(source, "priority", int),
        processing_timeout=timedelta(microseconds=nanoseconds // 1000),
        args=None if args is None else JsonText(args),
        context=None if context is None else JsonText(context),
        unknown_members=unknown_members(source, _KNOWN_OF_DEFINITION),
    )


def _pending(source: Source) -> PendingTask:
    return PendingTask(
        queue=check_queue(_member(source, "queue", str), "pending.queue"),
        task_id=_member(source, "task_id", str),
        instant=_instant(source, "instant"),
    )


def _member(source: Source, name: str, kind: type[T]) -> T:
    value = source[name]
    if type(value) is not kind:  # exactly: True is an int otherwise
        raise TypeError(f"{name}: is no {kind.__name__}")
    return value


def _optional(source: Source, name: str, kind: type[T]) -> T | None:
    return None if source.get(name) is None else _member(source, name, kind)


def _instant(source: Source, name: str) -> datetime:
    return parse_instant(_member(source, name, str))


def _optional_instant(source: Source, name: str) -> datetime | None:
    return None if source.get(name) is None else _instant(source, name)
