"""Runs of recurring tasks. Implements `tasques.domain.recurring_ports.RunRepository`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from tasques.domain.errors import StoreUnavailableError, TasquesError, UnavailableError
from tasques.domain.recurring import PendingTask, RecurringTask
from tasques.domain.task import TaskState
from tasques.repository import queries
from tasques.repository.asking import ask
from tasques.repository.connection import Connection
from tasques.repository.documents import document_id
from tasques.repository.reads import DocumentReader

# By default Elasticsearch answers 200 when a part of an index could not be searched.
_SEARCH: Final = "/_search?allow_partial_search_results=false"
# An index that an operator has closed is as good as deleted.
_SEARCH_ARCHIVE: Final = f"{_SEARCH}&ignore_unavailable=true"
_AT_ONCE: Final = 500
_MAX_FOUND: Final = 10_000
_FINISHED: Final = frozenset({TaskState.DONE, TaskState.DEAD})

Item = TypeVar("Item")


class ElasticsearchRunRepository:
    """Looks for runs among the tasks behind two aliases."""

    def __init__(
        self,
        *,
        tasks_alias: str,
        archive_alias: str,
        connection: Connection,
        reader: DocumentReader,
        request_timeout: float,
    ) -> None:
        """Make a repository.

        Args:
            tasks_alias: where tasks are.
            archive_alias: where they go when they are finished.
            connection: to Elasticsearch.
            reader: of tasks.
            request_timeout: seconds for one search.
        """
        self._tasks_alias = tasks_alias
        self._archive_alias = archive_alias
        self._connection = connection
        self._reader = reader
        self._request_timeout = request_timeout

    async def existing(self, pending: Sequence[PendingTask]) -> set[PendingTask]:
        """Which of these tasks have been created. See the port."""
        existing: set[PendingTask] = set()
        for part in _parts(pending):
            existing |= await self._stored(part)
            # Only now: the archive has what was taken away from the active tasks before.
            if missing := [each for each in part if each not in existing]:
                existing |= await self._archived(missing)
        return existing

    async def outstanding(self, recurring_tasks: Sequence[RecurringTask]) -> set[str]:
        """Which of these have a run that is neither done nor dead. See the port."""
        if not recurring_tasks:
            return set()
        await self._refresh()
        outstanding: set[str] = set()
        for part in _parts(recurring_tasks):
            outstanding |= await self._counted(part)
            # A search may be answered by a copy that has missed the refresh; a read is exact.
            rest = [task for task in part if task.id not in outstanding]
            outstanding |= await self._last_ones(rest)
        return outstanding

    # ---------------------------------------------------------------- reads

    async def _stored(self, pending: Sequence[PendingTask]) -> set[PendingTask]:
        states = await self._states([(each.queue, each.task_id) for each in pending])
        return {each for each, state in zip(pending, states, strict=True) if state is not None}

    async def _last_ones(self, recurring_tasks: Sequence[RecurringTask]) -> set[str]:
        """Those whose last run is there and not finished; of another queue only searches know."""
        asked = [(task, task.last_task_id) for task in recurring_tasks if task.last_task_id]
        states = await self._states([(task.definition.queue, last) for task, last in asked])
        return {
            task.id
            for (task, _), state in zip(asked, states, strict=True)
            if state is not None and state not in _FINISHED
        }

    async def _states(self, tasks: Sequence[tuple[str, str]]) -> list[str | None]:
        """The state of each task as of now; None if it is not there."""
        reads = [self._reader.get(self._tasks_alias, document_id(*task)) for task in tasks]
        found = await asyncio.gather(*reads)
        return [None if each is None else str(each.source.get("state")) for each in found]

    # ---------------------------------------------------------------- searches

    async def _refresh(self) -> None:
        answer = await self._ask(f"/{quote(self._tasks_alias)}/_refresh", None)
        if answer["_shards"]["failed"]:
            raise StoreUnavailableError("The tasks can not be refreshed in full.")

    async def _counted(self, recurring_tasks: Sequence[RecurringTask]) -> set[str]:
        question = queries.outstanding([task.id for task in recurring_tasks])
        answer = await self._search(f"/{quote(self._tasks_alias)}{_SEARCH}", question)
        buckets = answer["aggregations"][queries.BY_RECURRING_TASK]["buckets"]
        return {bucket["key"] for bucket in buckets}

    async def _archived(self, pending: Sequence[PendingTask]) -> set[PendingTask]:
        ids = list({each.task_id for each in pending})
        question = queries.with_ids(ids, size=_MAX_FOUND)
        answer = await self._search(f"/{quote(self._archive_alias)}{_SEARCH_ARCHIVE}", question)
        if answer["hits"]["total"]["value"] > _MAX_FOUND:
            raise StoreUnavailableError("Too many archived tasks have the ids of runs.")
        found = {(hit["_source"]["queue"], hit["_source"]["id"]) for hit in answer["hits"]["hits"]}
        return {each for each in pending if (each.queue, each.task_id) in found}

    async def _search(self, target: str, question: dict[str, Any]) -> dict[str, Any]:
        answer = await self._ask(target, question)
        shards = answer["_shards"]
        if shards["failed"] or not shards["total"] or answer["timed_out"]:
            raise StoreUnavailableError("Not all tasks can be searched now.")
        return answer

    async def _ask(self, target: str, body: object) -> dict[str, Any]:
        try:
            return await ask(self._connection, "POST", target, body, timeout=self._request_timeout)
        except UnavailableError:
            raise
        except TasquesError as error:
            raise StoreUnavailableError(str(error)) from error


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
