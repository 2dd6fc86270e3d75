"""Recurring tasks in Elasticsearch. Implements `tasques.domain.recurring_ports.RecurringTaskRepository`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
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
    UnresolvedRecurringWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Clock, Lane
from tasques.domain.recurring import RecurringTask, StoredRecurringTask
from tasques.domain.recurring_ports import ChangeMark, Changes
from tasques.domain.task import Version
from tasques.repository import queries
from tasques.repository.asking import ask
from tasques.repository.bulk import BulkWriter, OutcomeUnknownError, WriteConflictError
from tasques.repository.connection import Connection
from tasques.repository.last_write import LastWrite
from tasques.repository.pages import Hit, pages
from tasques.repository.reads import DocumentReader
from tasques.repository.recurring_documents import from_document, to_document
from tasques.repository.resolving import Resolver, settle_all

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
        self._resolver = Resolver(
            alias=alias, reader=reader, clock=clock, unresolved=UnresolvedRecurringWriteError
        )
        self._new_write_id = new_write_id
        self._request_timeout = request_timeout
        self._last_write = LastWrite(
            alias=alias, connection=connection, request_timeout=request_timeout
        )
        self._asked_in_vain_at: ChangeMark | None = None

    async def create(self, task: RecurringTask) -> RecurringTask:
        """Store a recurring task whose id must be free. See the port."""
        until = self._resolver.latest()
        try:
            return await self._submit_create(task)
        except (WriteConflictError, OutcomeUnknownError) as error:
            return await self._resolver.explain(
                task.id, error, until, lambda: self._resolve_create(task, until)
            )

    async def get(self, recurring_task_id: str) -> StoredRecurringTask:
        """Read a recurring task as of now. See the port."""
        found = await self._reader.get(self._alias, recurring_task_id)
        if found is None:
            raise RecurringTaskNotFoundError(recurring_task_id)
        return from_document(found.source, found.version, recurring_task_id)

    async def update(self, task: RecurringTask) -> RecurringTask:
        """Store a recurring task if nobody wrote it since it was read. See the port."""
        return await self._update(task, self._resolver.latest())

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
        number that is still under way. So each call looks from where the one before it began,
        until the last write of all is one that two calls have seen.
        """
        written = await self._written_last(mark)
        if written == mark.certain:
            return Changes([], mark)
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
        found = ChangeMark(seen=max(seen, last), certain=seen)
        if written is not None and found == mark:
            self._asked_in_vain_at = mark  # the last write was a purge, which no search shows
        return Changes(tasks, found)

    async def purge(self, recurring_task_id: str, version: Version) -> None:
        """Remove a recurring task for good. See the port."""
        target = {"_index": self._alias, "_id": recurring_task_id} | _condition(version)
        body = orjson.dumps({"delete": target}) + b"\n"
        until = self._resolver.latest()
        try:
            await self._writer.submit(Lane.ACKNOWLEDGE, body)
        except (WriteConflictError, OutcomeUnknownError) as error:
            found = await self._resolver.explain(
                recurring_task_id,
                error,
                until,
                lambda: self._resolver.what_has_changed(recurring_task_id, version),
            )
            if found is not None:
                raise RecurringTaskConflictError(recurring_task_id) from error

    # ---------------------------------------------------------------- writing

    def _index(self, task: RecurringTask, write_id: str) -> bytes:
        if task.version is None:
            raise ValueError("what was never written can not be updated")
        target = {"_index": self._alias, "_id": task.id} | _condition(task.version)
        return orjson.dumps({"index": target}) + b"\n" + to_document(task, write_id) + b"\n"

    async def _submit_create(self, task: RecurringTask) -> RecurringTask:
        action = orjson.dumps({"create": {"_index": self._alias, "_id": task.id}})
        body = action + b"\n" + to_document(task, self._new_write_id()) + b"\n"
        return replace(task, version=await self._writer.submit(Lane.CREATE, body))

    async def _resolve_create(self, task: RecurringTask, until: float) -> RecurringTask:
        """Find out what is in the way, and create it again when that has gone."""
        while (stored := await self._take_place(task, until)) is None:
            await self._resolver.pause()
            with suppress(WriteConflictError):
                return await self._submit_create(task)
        return stored

    async def _take_place(self, task: RecurringTask, until: float) -> RecurringTask | None:
        """Replace a deleted one; None if what was in the way is not there, or has changed."""
        found = await self._resolver.read(task.id)
        if found is None:
            return None  # it has been purged, or the read is older than the conflict
        stored = from_document(found.source, found.version, task.id)
        if not isinstance(stored, RecurringTask):
            raise RecurringTaskAlreadyExistsError(task.id)
        if stored.incarnation == task.incarnation:
            return stored  # ours; perhaps somebody has changed it since
        if not stored.is_deleted:
            raise RecurringTaskAlreadyExistsError(task.id)
        try:
            return await self._update(task.replacing(stored), until)
        except VersionConflictError:
            return None

    async def _update(self, task: RecurringTask, until: float) -> RecurringTask:
        write_id = self._new_write_id()
        try:
            version = await self._writer.submit(Lane.ACKNOWLEDGE, self._index(task, write_id))
        except (WriteConflictError, OutcomeUnknownError) as error:
            return await self._resolve_update(task, write_id, error, until)
        return replace(task, version=version)

    async def _update_part(
        self, tasks: Sequence[RecurringTask]
    ) -> list[RecurringTask | TasquesError]:
        writes = [(task, self._new_write_id()) for task in tasks]
        until = self._resolver.latest()
        outcomes = await self._writer.submit_all(
            Lane.ACKNOWLEDGE, [self._index(*write) for write in writes]
        )
        return await settle_all(
            writes,
            outcomes,
            stored=lambda task, version: replace(task, version=version),
            resolve=lambda task, write_id, outcome: self._resolve_update(
                task, write_id, outcome, until
            ),
        )

    async def _resolve_update(
        self, task: RecurringTask, write_id: str, outcome: Exception, until: float
    ) -> RecurringTask:
        """Find out what an update that did not simply succeed means."""
        found = await self._resolver.explain(
            task.id,
            outcome,
            until,
            lambda: self._resolver.what_has_changed(task.id, task.version),
        )
        if found is not None and found.source.get("write_id") == write_id:
            return replace(task, version=found.version)
        raise RecurringTaskConflictError(task.id)

    # ---------------------------------------------------------------- reading

    async def _refresh(self) -> None:
        target = f"/{quote(self._alias)}/_refresh"
        answer = await ask(self._connection, "POST", target, timeout=self._request_timeout)
        if answer["_shards"]["failed"]:
            raise StoreUnavailableError("The recurring tasks can not be refreshed in full.")

    async def _written_last(self, mark: ChangeMark) -> int | None:
        """The number of the last write; None also if it is known not to be the certain one."""
        if mark.seen != mark.certain or mark == self._asked_in_vain_at:
            return None
        return await self._last_write.number()

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
