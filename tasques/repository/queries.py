"""The questions that are asked of the indices: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tasques.domain.instant import to_milliseconds
from tasques.domain.ports import ClaimSearch
from tasques.domain.task import TaskState

BY_RECURRING_TASK: Final = "by_recurring_task"
"""The aggregation of `outstanding`."""


def until(instant: datetime) -> dict[str, Any]:
    """The bounds of a range of dates that ends with an instant, which belongs to it.

    As a number: a text without a fraction would be rounded up to the end of its second.
    """
    return {"lte": to_milliseconds(instant), "format": "epoch_millis"}


def claimable(search: ClaimSearch) -> dict[str, Any]:
    """Tasks that are due, in claim order.

    `due_at` and `claim_rank` exist only while a task is claimable. Sorting by one indexed number
    without counting hits lets Lucene skip whatever can not be among the first.
    """
    filters: list[dict[str, Any]] = [{"range": {"due_at": until(search.due_at)}}]
    if search.queues:
        filters.append({"terms": {"queue": search.queues}})
    if search.from_rank is not None:
        filters.append({"range": {"claim_rank": {"gte": search.from_rank}}})
    return {
        "query": {"bool": {"filter": filters}},
        "sort": ["claim_rank"],
        "size": search.size,
        "track_total_hits": False,
        "seq_no_primary_term": True,
    }


def timed_out(at: datetime) -> dict[str, Any]:
    """Claimed tasks whose processing time was over at that instant, the oldest first."""
    return _in_states_until("last_claimed.times_out_at", at, TaskState.CLAIMED)


def finished(before: datetime) -> dict[str, Any]:
    """Tasks that were finished by that instant, the oldest first."""
    return _in_states_until("last_claimed.result.at", before, TaskState.DONE, TaskState.DEAD)


def _in_states_until(field: str, at: datetime, *states: TaskState) -> dict[str, Any]:
    filters = [{"terms": {"state": states}}, {"range": {field: until(at)}}]
    return {
        "query": {"bool": {"filter": filters}},
        "sort": [field],
        "track_total_hits": False,
        "seq_no_primary_term": True,
    }


def newest(queue: str, task_id: str) -> dict[str, Any]:
    """The one archived task of an id, or the newest of several."""
    filters = [{"term": {"queue": queue}}, {"term": {"id": task_id}}]
    created_at = {"metadata.created_at": {"order": "desc", "unmapped_type": "date"}}
    return {
        "query": {"bool": {"filter": filters}},
        "sort": [created_at],
        "size": 1,
        "track_total_hits": False,
        "seq_no_primary_term": True,
    }


def all_by_id() -> dict[str, Any]:
    """Everything, in the order of the ids: of the field, as sorting by `_id` is refused."""
    return {
        "query": {"match_all": {}},
        "sort": ["id"],
        "track_total_hits": False,
        "seq_no_primary_term": True,
    }


def written_after(number: int, size: int) -> dict[str, Any]:
    """Which documents of a shard were last written after the write of that number, in order."""
    return {
        "query": {"range": {"_seq_no": {"gt": number}}},
        "sort": ["_seq_no"],
        "size": size,
        "_source": False,
        "track_total_hits": False,
        "seq_no_primary_term": True,
    }


def outstanding(recurring_task_ids: Sequence[str]) -> dict[str, Any]:
    """Which of these recurring tasks have runs, in any queue, that are not finished."""
    filters = [
        {"terms": {"recurring_task_id": recurring_task_ids}},
        {"terms": {"state": [TaskState.QUEUED, TaskState.FAILED, TaskState.CLAIMED]}},
    ]
    by_id = {"terms": {"field": "recurring_task_id", "size": len(recurring_task_ids)}}
    return {
        "query": {"bool": {"filter": filters}},
        "aggs": {BY_RECURRING_TASK: by_id},
        "size": 0,
        "track_total_hits": False,
    }


def with_ids(task_ids: Sequence[str], *, size: int) -> dict[str, Any]:
    """Tasks with these ids, in any queue: only where they are."""
    return {
        "query": {"bool": {"filter": [{"terms": {"id": task_ids}}]}},
        "_source": ["queue", "id"],
        "size": size,
        "track_total_hits": True,
    }
