"""Tasks as documents and back: pure functions.

Instants are RFC 3339 text, durations are nanoseconds, and what clients say in free form (`args`,
`context`, the data of reports and results) is kept as JSON *text*: as an object it would be
Elasticsearch's to refuse or to change.

`due_at` and `claim_rank` are there only while the task is claimable, so that a search for
claimable tasks is a search for `due_at`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Final

import orjson

from tasques.domain.errors import CorruptDocumentError
from tasques.domain.task import (
    Claim,
    JsonText,
    Report,
    Result,
    Task,
    TaskState,
    Version,
)
from tasques.repository.members import (
    Source,
    WrongMemberError,
    instant,
    member,
    optional_instant,
    optional_member,
    unknown_members,
)

_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_FAILURE_MESSAGE: Final = 1024
_MAX_REASON: Final = 256  # what charts group failures by
_KNOWN_MEMBERS: Final = frozenset(
    {
        "args",
        "attempted",
        "claim_rank",
        "context",
        "due_at",
        "failure_message",
        "id",
        "incarnation",
        "kind",
        "last_claimed",
        "last_enqueued_at",
        "metadata",
        "priority",
        "processing_timeout",
        "queue",
        "recurring_task_id",
        "retry_times",
        "run_at",
        "scheduled_for",
        "state",
        "traceparent",
        "write_id",
    }
)
_KNOWN_OF_CLAIM: Final = frozenset(
    {
        "claim_id",
        "claimed_at",
        "last_report",
        "result",
        "run_ms",
        "times_out_at",
        "wait_ms",
        "worker_id",
    }
)
_KNOWN_OF_REPORT: Final = frozenset({"at", "data"})
_KNOWN_OF_METADATA: Final = frozenset({"created_at", "modified_at"})


def document_id(queue: str, task_id: str) -> str:
    """The `_id` of a task that is not archived."""
    return f"{queue}:{task_id}"


def archive_id(queue: str, task_id: str, incarnation: str) -> str:
    """The `_id` of an archived task: of an id that was used again, each task has its own."""
    return f"{queue}:{task_id}:{incarnation}"


def to_document(task: Task, write_id: str) -> bytes:
    """The document of a task, as one line of JSON."""
    document: dict[str, object] = {
        "id": task.id,
        "queue": task.queue,
        "kind": task.kind,
        "state": task.state,
        "priority": task.priority,
        "retry_times": task.retry_times,
        "attempted": task.attempted,
        "processing_timeout": _to_nanoseconds(task.processing_timeout),
        "run_at": task.run_at,
        "last_enqueued_at": task.last_enqueued_at,
        "metadata": _with(
            task.unknown_metadata,
            {"created_at": task.created_at, "modified_at": task.modified_at},
        ),
        "incarnation": task.incarnation,
        "write_id": write_id,
    }
    if task.is_claimable:
        document["due_at"] = task.run_at
        document["claim_rank"] = task.rank
    if task.args is not None:
        document["args"] = task.args
    if task.context is not None:
        document["context"] = task.context
    if task.recurring_task_id is not None:
        document["recurring_task_id"] = task.recurring_task_id
    if task.scheduled_for is not None:
        document["scheduled_for"] = task.scheduled_for
    if task.traceparent is not None:
        document["traceparent"] = task.traceparent
    if task.last_claimed is not None:
        claim = _claim_document(task.last_claimed)
        document["last_claimed"] = claim
        if (result := task.last_claimed.result) is not None:
            claim["run_ms"] = task.last_claimed.run_ms
            claim["result"] = members = _result_document(result)
            if result.failure:
                document["failure_message"] = message = failure_message(result.failure)
                members["reason"] = message[:_MAX_REASON]
    return orjson.dumps(_with(task.unknown_members, document), option=orjson.OPT_UTC_Z)


def _claim_document(claim: Claim) -> dict[str, object]:
    document: dict[str, object] = {
        "worker_id": claim.worker_id,
        "claimed_at": claim.claimed_at,
        "times_out_at": claim.times_out_at,
    }
    if claim.claim_id is not None:
        document["claim_id"] = claim.claim_id
    if (report := claim.last_report) is not None:
        members = _present(at=report.at, data=report.data)
        document["last_report"] = _with(report.unknown_members, members)
    if claim.wait_ms is not None:
        document["wait_ms"] = claim.wait_ms
    return _with(claim.unknown_members, document)


def _with(unknown: Source, members: dict[str, object]) -> dict[str, object]:
    """What is known wins; and it costs nothing where nothing is unknown."""
    return {**unknown, **members} if unknown else members


def _result_document(result: Result) -> dict[str, object]:
    return _present(at=result.at, success=result.success, failure=result.failure)


def _present(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def failure_message(failure: JsonText) -> str:
    """What to search failures by: the usual member for a message, else the whole text."""
    try:
        members = orjson.loads(failure)
    except orjson.JSONDecodeError:  # integers beyond 64 bits are fine, but deep nesting is not
        members = None
    if not isinstance(members, dict):
        members = {}
    for name in ("message", "error", "err", "reason", "timed_out"):
        if isinstance(message := members.get(name), str):
            return message[:_MAX_FAILURE_MESSAGE]
    return failure[:_MAX_FAILURE_MESSAGE]


def from_document(source: Source, version: Version, found_id: str) -> Task:
    """The task that a document holds.

    Raises:
        CorruptDocumentError: members are missing or of the wrong kind.
    """
    try:
        return _task_from(source, version)
    except WrongMemberError as error:
        raise CorruptDocumentError(found_id, str(error)) from error


def _task_from(source: Source, version: Version) -> Task:
    metadata = member(dict, source, "metadata")
    claim = optional_member(dict, source, "last_claimed")
    return Task(
        id=member(str, source, "id"),
        queue=member(str, source, "queue"),
        kind=member(str, source, "kind"),
        state=_state_from(source),
        priority=member(int, source, "priority"),
        retry_times=member(int, source, "retry_times"),
        attempted=member(int, source, "attempted"),
        processing_timeout=_timeout_from(source),
        run_at=instant(source, "run_at"),
        last_enqueued_at=instant(source, "last_enqueued_at"),
        created_at=instant(metadata, "created_at"),
        modified_at=instant(metadata, "modified_at"),
        incarnation=member(str, source, "incarnation"),
        args=_json_text(source, "args"),
        context=_json_text(source, "context"),
        last_claimed=None if claim is None else _claim_from(claim),
        recurring_task_id=optional_member(str, source, "recurring_task_id"),
        scheduled_for=optional_instant(source, "scheduled_for"),
        traceparent=optional_member(str, source, "traceparent"),
        version=version,
        unknown_members=unknown_members(source, _KNOWN_MEMBERS),
        unknown_metadata=unknown_members(metadata, _KNOWN_OF_METADATA),
    )


def _state_from(source: Source) -> TaskState:
    state = member(str, source, "state")
    try:
        return TaskState(state)
    except ValueError:
        raise WrongMemberError("state", state) from None


def _timeout_from(source: Source) -> timedelta:
    nanoseconds = member(int, source, "processing_timeout")
    try:
        return _from_nanoseconds(nanoseconds)
    except OverflowError:
        raise WrongMemberError("processing_timeout", nanoseconds) from None


def _json_text(source: Source, name: str) -> JsonText | None:
    text = optional_member(str, source, name)
    return None if text is None else JsonText(text)


def _claim_from(source: Source) -> Claim:
    report = optional_member(dict, source, "last_report")
    result = optional_member(dict, source, "result")
    return Claim(
        worker_id=member(str, source, "worker_id"),
        claimed_at=instant(source, "claimed_at"),
        times_out_at=instant(source, "times_out_at"),
        claim_id=optional_member(str, source, "claim_id"),
        last_report=None if report is None else _report_from(report),
        result=None if result is None else _result_from(result),
        wait_ms=optional_member(int, source, "wait_ms"),
        unknown_members=unknown_members(source, _KNOWN_OF_CLAIM),
    )


def _report_from(source: Source) -> Report:
    return Report(
        at=instant(source, "at"),
        data=_json_text(source, "data"),
        unknown_members=unknown_members(source, _KNOWN_OF_REPORT),
    )


def _result_from(source: Source) -> Result:
    return Result(
        at=instant(source, "at"),
        success=_json_text(source, "success"),
        failure=_json_text(source, "failure"),
    )


@lru_cache(maxsize=1024)
def _to_nanoseconds(duration: timedelta) -> int:
    return duration // _MICROSECOND * 1000


@lru_cache(maxsize=1024)
def _from_nanoseconds(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1000)
