"""What Elasticsearch is told about our documents, and how a stored mapping differs from that.

A change here is additive (a new field) and raises the version of the mapping: `setup` adds the
new fields to what exists. Whatever can not be added to an existing index needs a new index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

Fields = Mapping[str, Any]
"""The `properties` of a mapping or of an object in it."""

_KEYWORD: Final = MappingProxyType({"type": "keyword"})
_LONG: Final = MappingProxyType({"type": "long"})
_DATE: Final = MappingProxyType({"type": "date"})
_FLAG: Final = MappingProxyType({"type": "boolean"})
# Only ever read, never searched for, so neither an index nor columns are paid for.
_MARK: Final = MappingProxyType({"type": "keyword", "index": False, "doc_values": False})
# Holds one JSON text. A disabled object takes whatever is there and looks into nothing: a text
# of any length is neither a term (these end at 32,766 bytes) nor parsed.
_OPAQUE: Final = MappingProxyType({"type": "object", "enabled": False})

TASKS_VERSION: Final = 4

TASKS: Final[Fields] = MappingProxyType(
    {
        "args": _OPAQUE,
        "attempted": _LONG,
        "claim_rank": _LONG,
        "context": _OPAQUE,
        "due_at": _DATE,
        "failure_message": {"type": "text"},
        "id": _KEYWORD,
        "incarnation": _MARK,
        "kind": _KEYWORD,
        "last_claimed": {
            "properties": {
                "claim_id": _MARK,
                "claimed_at": _DATE,
                "last_report": {"properties": {"at": _DATE, "data": _OPAQUE}},
                "result": {
                    "properties": {
                        "at": _DATE,
                        "failure": _OPAQUE,
                        "reason": _KEYWORD,
                        "success": _OPAQUE,
                    }
                },
                "run_ms": _LONG,
                "times_out_at": _DATE,
                "wait_ms": _LONG,
                "worker_id": _KEYWORD,
            }
        },
        "last_enqueued_at": _DATE,
        "metadata": {"properties": {"created_at": _DATE, "modified_at": _DATE}},
        "priority": _LONG,
        "processing_timeout": _LONG,
        "queue": _KEYWORD,
        "recurring_task_id": _KEYWORD,
        "retry_times": _LONG,
        "run_at": _DATE,
        "scheduled_for": _DATE,
        "state": _KEYWORD,
        "traceparent": _MARK,
        "write_id": _MARK,
    }
)

RECURRING_VERSION: Final = 2

RECURRING: Final[Fields] = MappingProxyType(
    {
        "id": _KEYWORD,
        "incarnation": _MARK,
        "is_deleted": _FLAG,
        # As tasks call them, so that one filter of a dashboard goes for both.
        "kind": {"type": "alias", "path": "task_definition.kind"},
        "last_fired_at": _DATE,
        "last_instant": _DATE,
        "last_task_id": _KEYWORD,
        "metadata": {"properties": {"created_at": _DATE, "modified_at": _DATE}},
        "misfire_policy": _KEYWORD,
        "paused": _FLAG,
        "pending": _OPAQUE,
        "queue": {"type": "alias", "path": "task_definition.queue"},
        "schedule_expression": _KEYWORD,
        "schedule_since": _DATE,
        "skip_if_outstanding_tasks_exist": _FLAG,
        "task_definition": {
            "properties": {
                "args": _OPAQUE,
                "context": _OPAQUE,
                "kind": _KEYWORD,
                "priority": _LONG,
                "processing_timeout": _LONG,
                "queue": _KEYWORD,
                "retry_times": _LONG,
            }
        },
        "time_zone": _KEYWORD,
        "write_id": _MARK,
    }
)

PROCESSES_VERSION: Final = 1

PROCESSES: Final[Fields] = MappingProxyType({"process_id": _KEYWORD})

LEADER_VERSION: Final = 1

LEADER: Final[Fields] = MappingProxyType(
    {
        "at": _DATE,
        "host": _KEYWORD,
        "is_resigned": _FLAG,
        "leader_id": _KEYWORD,
        "leader_lock_lease": _LONG,
        "pid": _LONG,
        "since": _DATE,
        "term": _LONG,
        "write": _LONG,
    }
)


def mapping(fields: Fields, meta: Mapping[str, object]) -> dict[str, Any]:
    """The whole mapping of an index with these fields and no others."""
    return {"dynamic": "strict", "_meta": dict(meta), "properties": plain(fields)}


def plain(value: Any) -> Any:
    """The same value made of dictionaries, as the client's serializer wants it."""
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Difference:
    """How a stored mapping falls short of the wanted one.

    Attributes:
        missing: the fields to add, in the form of `properties`.
        conflicts: a sentence for each field that is there as something else; these can not be
            changed in an existing index.
    """

    missing: Fields
    conflicts: tuple[str, ...]


def difference(stored: Fields, wanted: Fields) -> Difference:
    """Compare two `properties`. Fields that only the stored one has do not count."""
    return Difference(_missing(stored, wanted), tuple(_conflicts(stored, wanted, "")))


def _missing(stored: Fields, wanted: Fields) -> dict[str, Any]:
    missing: dict[str, Any] = {}
    for name, field in wanted.items():
        if name not in stored:
            missing[name] = plain(field)
        elif "properties" in field:
            inner = _missing(stored[name].get("properties", {}), field["properties"])
            if inner:
                missing[name] = {"properties": inner}
    return missing


def _conflicts(stored: Fields, wanted: Fields, path: str) -> Iterator[str]:
    for name, field in wanted.items():
        if name not in stored:
            continue
        found, needed = _kind(stored[name]), _kind(field)
        if found != needed:
            yield f"{path}{name} is of type {found} and must be {needed}"
        elif "properties" in field:
            inner = stored[name].get("properties", {})
            yield from _conflicts(inner, field["properties"], f"{path}{name}.")


def _kind(field: Fields) -> str:
    kind = str(field.get("type", "object"))
    if kind == "object" and field.get("enabled", True) is False:
        return "object (not enabled)"
    return kind
