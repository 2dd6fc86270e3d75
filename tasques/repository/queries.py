"""The questions that are asked of the indices: pure functions."""

from __future__ import annotations

from typing import Any

from tasques.domain.instant import format_instant
from tasques.domain.ports import ClaimSearch


def claimable(search: ClaimSearch) -> dict[str, Any]:
    """Tasks that are due, in claim order.

    `due_at` and `claim_rank` exist only while a task is claimable. Sorting by one indexed number
    without counting hits lets Lucene skip whatever can not be among the first.
    """
    filters: list[dict[str, Any]] = [{"range": {"due_at": {"lte": format_instant(search.due_at)}}}]
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
