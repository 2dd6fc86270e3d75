"""What all queues have before them, counted by Elasticsearch in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

import orjson

from tasques.domain.backlog import SCHEDULED, Backlog
from tasques.domain.errors import StoreUnavailableError
from tasques.domain.instant import to_milliseconds
from tasques.domain.ports import Clock
from tasques.domain.task import TaskState
from tasques.repository.asking import explained, read, send
from tasques.repository.connection import NDJSON, Connection
from tasques.repository.queries import until
from tasques.repository.verdict import error_of

_TARGET: Final = (
    "/_msearch?filter_path=responses.aggregations,responses._shards.failed,"
    "responses.status,responses.error"
)
_Aggregations = dict[str, Any]


class ElasticsearchBacklogs:
    """Counts by queue. A queue is shown as empty as long as the archive has a task of it."""

    def __init__(
        self,
        *,
        tasks_alias: str,
        archive_alias: str,
        connection: Connection,
        clock: Clock,
        max_queues: int,
        request_timeout: float,
    ) -> None:
        """Make a counter.

        Args:
            tasks_alias: where tasks are that are not archived.
            archive_alias: where the others are.
            connection: to Elasticsearch.
            clock: tells what is due.
            max_queues: so many are counted one by one, first come first served.
            request_timeout: seconds for one request.
        """
        self._tasks_alias = tasks_alias
        self._archive_alias = archive_alias
        self._connection = connection
        self._clock = clock
        self._max_queues = max_queues
        self._request_timeout = request_timeout
        self._named: dict[str, None] = {}  # a set has no order

    async def read(self) -> dict[str | None, Backlog]:
        """What each queue has before it; None stands for those beyond the limit together.

        Raises:
            UnavailableError, StoreRejectedError: it can not be counted now, or not completely.
        """
        at = self._clock.now()
        counted, archived = await self._count(at)
        if self._note(counted):
            counted, archived = await self._count(at)
        due = _buckets(counted["due"])
        found = {
            name: _backlog(bucket, due.get(name), at) for name, bucket in _buckets(counted).items()
        }
        names = [*self._named, *(name for name in _buckets(archived) if name not in self._named)]
        for name in islice(names, self._max_queues):
            found.setdefault(name, Backlog())
        return found

    def _note(self, counted: _Aggregations) -> bool:
        """Give new queues a name while there is room; whether there was too little for all."""
        if len(self._named) >= self._max_queues:
            return False
        queues = counted["queues"]
        found = [bucket["key"] for bucket in queues["buckets"]]
        new = [name for name in found if name not in self._named]
        room = self._max_queues - len(self._named)
        self._named |= dict.fromkeys(new[:room])
        return len(new) > room or queues["sum_other_doc_count"] > 0

    async def _count(self, at: datetime) -> list[_Aggregations]:
        is_full = len(self._named) >= self._max_queues
        searches = (
            (self._tasks_alias, _by_queue(at, self._max_queues, list(self._named), only=is_full)),
            (self._archive_alias, _names(self._max_queues)),
        )
        lines = [
            orjson.dumps(part) for alias, body in searches for part in ({"index": alias}, body)
        ]
        answer = await send(
            self._connection,
            "POST",
            _TARGET,
            b"\n".join([*lines, b""]),
            timeout=self._request_timeout,
            content_type=NDJSON,
        )
        return [_aggregations(response) for response in read(answer)["responses"]]


def _by_queue(at: datetime, size: int, names: Sequence[str], *, only: bool) -> dict[str, Any]:
    """What each queue has; if `only` those with a name, then the others together, too.

    What is due is split by queues a second time: splitting each queue takes half as long again.
    """

    def split(**each: Any) -> dict[str, Any]:
        terms: dict[str, Any] = {"field": "queue", "size": max(1, size)}
        if not only:
            return {"queues": {"terms": terms, "aggs": each}}
        others = {"bool": {"must_not": [{"terms": {"queue": names}}]}}
        parts: dict[str, Any] = {"others": {"filter": others, "aggs": each}}
        if names:
            parts["queues"] = {"terms": {**terms, "include": names}, "aggs": each}
        return parts

    states = {"terms": {"field": "state", "size": len(TaskState)}}
    due = split(states=states, oldest={"min": {"field": "due_at"}})
    is_due = {"range": {"due_at": until(at)}}
    return _question({**split(states=states), "due": {"filter": is_due, "aggs": due}})


def _names(size: int) -> dict[str, Any]:
    """Which queues there are; the same question each time, so that the answer is cached."""
    return _question({"queues": {"terms": {"field": "queue", "size": max(1, size)}}})


def _question(aggregations: Mapping[str, Any]) -> dict[str, Any]:
    return {"size": 0, "track_total_hits": False, "aggs": aggregations}


def _aggregations(response: dict[str, Any]) -> _Aggregations:
    if response["status"] != 200:
        raise explained(response["status"], *error_of(response))
    if response["_shards"]["failed"]:
        raise StoreUnavailableError("Some shards could not be counted.")
    aggregations: _Aggregations = response.get("aggregations", {})
    return aggregations


def _buckets(aggregations: _Aggregations) -> dict[str | None, _Aggregations]:
    """By queue; those of all others together are by None."""
    found: dict[str | None, _Aggregations] = {
        bucket["key"]: bucket for bucket in aggregations.get("queues", {}).get("buckets", ())
    }
    if "others" in aggregations:
        found[None] = aggregations["others"]
    return found


def _backlog(all_of_it: _Aggregations, due: _Aggregations | None, at: datetime) -> Backlog:
    tasks = _by_state(all_of_it)
    queued = _by_state(due).get(TaskState.QUEUED, 0) if due else 0
    tasks[SCHEDULED] = tasks.get(TaskState.QUEUED, 0) - queued
    tasks[TaskState.QUEUED] = queued
    if due is None or not due["doc_count"]:
        return Backlog(tasks)
    oldest = due["oldest"]["value"]
    return Backlog(tasks, due["doc_count"], (to_milliseconds(at) - oldest) / 1000)


def _by_state(bucket: _Aggregations) -> dict[str, int]:
    return {each["key"]: each["doc_count"] for each in bucket["states"]["buckets"]}
