"""Recurring tasks in Elasticsearch. Implements `tasques.domain.ports.RecurringTaskRepository`.

As with tasks, a conflict is believed only when a read shows that it is not the echo of our own
write: `write_id` and `incarnation` tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

import orjson

from tasques.domain.errors import (
    RecurringTaskAlreadyExistsError,
    RecurringTaskConflictError,
    RecurringTaskNotFoundError,
    StoreUnavailableError,
    TasquesError,
    UnavailableError,
    UnresolvedRecurringWriteError,
    VersionConflictError,
)
from tasques.domain.ports import ChangeMark, Changes, Clock, Lane
from tasques.domain.recurring import RecurringTask, StoredRecurringTask
from tasques.domain.task import Version
from tasques.repository import queries
from tasques.repository.asking import ask
from tasques.repository.bulk import BulkWriter, OutcomeUnknownError, WriteConflictError
from tasques.repository.connection import Connection
from tasques.repository.pages import Hit, pages
from tasques.repository.reads import DocumentReader, Found
from tasques.repository.recurring_documents import from_document, to_document

_STALE_READ_PAUSE: Final = 0.05
_STALE_READS: Final = 20
_CREATE_TRIES: Final = 5
_AT_A_TIME: Final = 2000
_MAX_FOUND: Final = 10_000

Item = TypeVar("Item")


class ElasticsearchRecurringTaskRepository:
    """Keeps recurring tasks in the index behind one alias, which has a single shard."""

    def __init__(
        self,
        *,
        alias: str,
        connection: Connection,
        writer: BulkWriter,
        reader: DocumentReader,
        clock: Clock,
        new_write_id: Callable[[], str],
        request_timeout: float,
    ) -> None:
        """Make a repository.

        Args:
            alias: where recurring tasks are.
            connection: to Elasticsearch.
            writer: of documents.
            reader: of documents.
            clock: for pauses.
            new_write_id: draws the mark of a write.
            request_timeout: seconds for one search.
        """
        self._alias = alias
        self._connection = connection
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._new_write_id = new_write_id
        self._request_timeout = request_timeout

    async def create(self, task: RecurringTask) -> RecurringTask:
        """Store a recurring task whose id must be free. See the port."""
        for _ in range(_CREATE_TRIES):
            stored = await self._try_create(task)
            if stored is not None:
                return stored
        raise UnresolvedRecurringWriteError(task.id)

    async def get(self, recurring_task_id: str) -> StoredRecurringTask:
        """Read a recurring task as of now. See the port."""
        found = await self._reader.get(self._alias, recurring_task_id)
        if found is None:
            raise RecurringTaskNotFoundError(recurring_task_id)
        return from_document(found.source, found.version, recurring_task_id)

    async def update(self, task: RecurringTask) -> RecurringTask:
        """Store a recurring task if nobody wrote it since it was read. See the port."""
        write_id = self._new_write_id()
        try:
            version = await self._writer.submit(Lane.ACKNOWLEDGE, self._index(task, write_id))
        except (WriteConflictError, OutcomeUnknownError) as error:
            return await self._resolve_update(task, write_id, error)
        return replace(task, version=version)

    async def update_all(
        self, tasks: Sequence[RecurringTask]
    ) -> list[RecurringTask | TasquesError]:
        """Store recurring tasks that nobody wrote since they were read. See the port."""
        outcomes: list[RecurringTask | TasquesError] = []
        for part in _parts(tasks):
            outcomes += await self._update_part(part)
        return outcomes

    async def list_all(self) -> AsyncGenerator[Sequence[StoredRecurringTask], None]:
        """Find all, in the order of their ids. See the port."""
        await self._refresh()
        question = queries.all_by_id()
        found = pages(self._connection, self._alias, question, timeout=self._request_timeout)
        async with aclosing(found):
            async for hits in found:
                yield [from_document(hit["_source"], _version(hit), hit["_id"]) for hit in hits]

    async def changed_since(
        self, mark: ChangeMark, is_known: Callable[[str, Version], bool]
    ) -> Changes:
        """Read what was written since the mark. See the port.

        Writes get ascending numbers, but a search may show one before another of a smaller
        number that is still under way. So each call looks from where the one before it began.
        """
        await self._refresh()
        seen = mark.seen
        unknown: list[str] = []
        last, is_more = mark.certain, True
        while is_more:
            hits = await self._written_after(last)
            unknown += [hit["_id"] for hit in hits if not is_known(hit["_id"], _version(hit))]
            if hits:
                last = hits[-1]["_seq_no"]
            is_more = len(hits) == _MAX_FOUND
        tasks = await self._read_all(list(dict.fromkeys(unknown)))
        return Changes(tasks, ChangeMark(seen=max(seen, last), certain=seen))

    async def purge(self, recurring_task_id: str, version: Version) -> None:
        """Remove a recurring task for good. See the port."""
        target = {"_index": self._alias, "_id": recurring_task_id} | _condition(version)
        body = orjson.dumps({"delete": target}) + b"\n"
        try:
            await self._writer.submit(Lane.ACKNOWLEDGE, body)
        except OutcomeUnknownError as error:
            raise UnresolvedRecurringWriteError(recurring_task_id) from error
        except WriteConflictError as error:
            found = await self._read_until(
                recurring_task_id, lambda found: found is None or found.version != version
            )
            if found is not None:
                raise RecurringTaskConflictError(recurring_task_id) from error

    # ---------------------------------------------------------------- writing

    def _index(self, task: RecurringTask, write_id: str) -> bytes:
        if task.version is None:
            raise ValueError("what was never written can not be updated")
        target = {"_index": self._alias, "_id": task.id} | _condition(task.version)
        return orjson.dumps({"index": target}) + b"\n" + to_document(task, write_id) + b"\n"

    async def _try_create(self, task: RecurringTask) -> RecurringTask | None:
        """Create it, or replace a deleted one; None if what was in the way has changed."""
        target = {"_index": self._alias, "_id": task.id}
        action = orjson.dumps({"create": target})
        body = action + b"\n" + to_document(task, self._new_write_id()) + b"\n"
        try:
            version = await self._writer.submit(Lane.CREATE, body)
        except OutcomeUnknownError as error:
            raise UnresolvedRecurringWriteError(task.id) from error
        except WriteConflictError:
            return await self._take_place(task)
        return replace(task, version=version)

    async def _take_place(self, task: RecurringTask) -> RecurringTask | None:
        # A read that shows nothing where a create conflicted is older, or it has been purged.
        found = await self._read_until(task.id, lambda found: found is not None)
        if found is None:
            return None
        stored = from_document(found.source, found.version, task.id)
        if not isinstance(stored, RecurringTask):
            raise RecurringTaskAlreadyExistsError(task.id)
        if stored.incarnation == task.incarnation:
            return stored  # ours; perhaps somebody has changed it since
        if not stored.is_deleted:
            raise RecurringTaskAlreadyExistsError(task.id)
        try:
            return await self.update(task.replacing(stored))
        except VersionConflictError:
            return None

    async def _update_part(
        self, tasks: Sequence[RecurringTask]
    ) -> list[RecurringTask | TasquesError]:
        write_ids = [self._new_write_id() for _ in tasks]
        bodies = [self._index(*each) for each in zip(tasks, write_ids, strict=True)]
        outcomes = await self._writer.submit_all(Lane.ACKNOWLEDGE, bodies)

        async def settle(
            task: RecurringTask, write_id: str, outcome: Version | Exception
        ) -> RecurringTask | TasquesError:
            if isinstance(outcome, Version):
                return replace(task, version=outcome)
            try:
                return await self._resolve_update(task, write_id, outcome)
            except TasquesError as error:
                return error

        each = zip(tasks, write_ids, outcomes, strict=True)
        return list(await asyncio.gather(*(settle(*one) for one in each)))

    async def _resolve_update(
        self, task: RecurringTask, write_id: str, outcome: Exception
    ) -> RecurringTask:
        """Find out what an update that did not simply succeed means."""
        if isinstance(outcome, OutcomeUnknownError):
            raise UnresolvedRecurringWriteError(task.id) from outcome
        if not isinstance(outcome, WriteConflictError):
            raise outcome
        # A read that shows the version that the write was conditional on is older than it.
        found = await self._read_until(
            task.id, lambda found: found is None or found.version != task.version
        )
        if found is not None and found.source.get("write_id") == write_id:
            return replace(task, version=found.version)
        raise RecurringTaskConflictError(task.id)

    async def _read_until(
        self, recurring_task_id: str, is_fresh: Callable[[Found | None], bool]
    ) -> Found | None:
        """Read until the answer can explain a conflict, or is the same again and again."""
        found = None
        for _ in range(_STALE_READS):
            try:
                found = await self._reader.get(self._alias, recurring_task_id)
            except UnavailableError as error:
                raise UnresolvedRecurringWriteError(recurring_task_id) from error
            if is_fresh(found):
                return found
            await self._clock.sleep(_STALE_READ_PAUSE)
        if found is None:
            return None
        raise UnresolvedRecurringWriteError(recurring_task_id)

    # ---------------------------------------------------------------- reading

    async def _refresh(self) -> None:
        target = f"/{quote(self._alias)}/_refresh"
        answer = await ask(self._connection, "POST", target, timeout=self._request_timeout)
        if answer["_shards"]["failed"]:
            raise StoreUnavailableError("The recurring tasks can not be refreshed in full.")

    async def _written_after(self, number: int) -> list[Hit]:
        target = f"/{quote(self._alias)}/_search?allow_partial_search_results=false"
        question = queries.written_after(number, _MAX_FOUND)
        answer = await ask(
            self._connection, "POST", target, question, timeout=self._request_timeout
        )
        hits: list[Hit] = answer["hits"]["hits"]
        return hits

    async def _read_all(self, ids: Sequence[str]) -> list[StoredRecurringTask]:
        found: list[StoredRecurringTask] = []
        for part in _parts(ids):
            reads = [self._reader.get(self._alias, each) for each in part]
            found += [
                from_document(each.source, each.version, found_id)
                for found_id, each in zip(part, await asyncio.gather(*reads), strict=True)
                if each is not None
            ]
        return found


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _AT_A_TIME] for start in range(0, len(items), _AT_A_TIME))


def _condition(version: Version) -> dict[str, Any]:
    return {"if_seq_no": version.seq_no, "if_primary_term": version.primary_term}


def _version(hit: Hit) -> Version:
    return Version(hit["_seq_no"], hit["_primary_term"])
