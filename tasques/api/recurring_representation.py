"""Recurring tasks as answers: what clients have always seen, then what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from tasques.api.representation import metadata, put_json
from tasques.domain.duration import format_duration
from tasques.domain.instant import ZERO
from tasques.domain.recurring import (
    BrokenRecurringTask,
    MisfirePolicy,
    RecurringTask,
    StoredRecurringTask,
    TaskDefinition,
)

_UNREADABLE_DEFINITION: Final = {
    "queue": "",
    "retry_times": 0,
    "kind": "",
    "priority": 0,
    "processing_timeout": "0s",
}


def recurring_task_json(stored: StoredRecurringTask, now: datetime) -> bytes:
    """The JSON of a recurring task."""
    return orjson.dumps(_members(stored, now), option=orjson.OPT_UTC_Z)


def instants_json(instants: Sequence[datetime]) -> bytes:
    """The JSON of several instants."""
    return orjson.dumps(list(instants), option=orjson.OPT_UTC_Z)


def _members(stored: StoredRecurringTask, now: datetime) -> dict[str, Any]:
    if isinstance(stored, RecurringTask):
        return _task(stored, stored.next_fire_at(now))
    members = _unreadable(stored) if stored.task is None else _task(stored.task, None)
    return members | {"error": stored.reason}


def _task(task: RecurringTask, next_fire_at: datetime | None) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": task.id,
        "schedule_expression": task.schedule_expression,
        "skip_if_outstanding_tasks_exist": task.skip_if_outstanding_tasks_exist,
        "task_definition": _definition(task.definition),
        "metadata": metadata(task.created_at, task.modified_at, task.version),
    }
    if task.time_zone is not None:
        members["time_zone"] = task.time_zone
    members["paused"] = task.paused
    members["misfire_policy"] = task.misfire_policy
    members["next_fire_at"] = next_fire_at
    if task.last_fired_at is not None:
        members["last_fired_at"] = task.last_fired_at
    if task.last_task_id is not None:
        members["last_task_id"] = task.last_task_id
    return members


def _definition(definition: TaskDefinition) -> dict[str, Any]:
    members: dict[str, Any] = {
        "queue": definition.queue,
        "retry_times": definition.retry_times,
        "kind": definition.kind,
        "priority": definition.priority,
        "processing_timeout": format_duration(definition.processing_timeout),
    }
    put_json(members, "args", definition.args)
    put_json(members, "context", definition.context)
    return members


def _unreadable(broken: BrokenRecurringTask) -> dict[str, Any]:
    """Something of the right form, so that clients can read the list that it is in."""
    return {
        "id": broken.id,
        "schedule_expression": _text(broken.members, "schedule_expression"),
        "skip_if_outstanding_tasks_exist": False,
        "task_definition": _UNREADABLE_DEFINITION,
        "metadata": metadata(ZERO, ZERO, broken.version),
        "paused": False,
        "misfire_policy": MisfirePolicy.FIRE_ONCE,
        "next_fire_at": None,
    }


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""
