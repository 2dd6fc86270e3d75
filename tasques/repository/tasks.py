"""Tasks in Elasticsearch. Implements `tasques.domain.ports.TaskRepository`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from tasques.domain.errors import (
    CorruptDocumentError,
    StoreUnavailableError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    TasquesError,
    UnresolvedWriteError,
    VersionConflictError,
)
from tasques.domain.ports import Candidate, ClaimSearch, Clock, Lane
from tasques.domain.task import Task, Version
from tasques.repository import queries
from tasques.repository.archived import find_archived
from tasques.repository.bulk import BulkWriter, OutcomeUnknownError, WriteConflictError
from tasques.repository.connection import NDJSON, Answer, Connection, NoAnswerError
from tasques.repository.documents import document_id, from_document, to_document
from tasques.repository.pages import Hit, pages
from tasques.repository.reads import DocumentReader, Found
from tasques.repository.resolving import Resolver, settle_all
from tasques.repository.verdict import error_of
from tasques.repository.writes import MayWrite

_Resolve = Callable[[Task, str, Exception, float], Awaitable[Task]]

log = logging.getLogger(__name__)

_SEARCH_TARGET: Final = (
    "/_msearch?filter_path=responses.hits.hits._id,responses.hits.hits._source,"
    "responses.hits.hits._seq_no,responses.hits.hits._primary_term,responses.hits.hits.sort,"
    "responses.status,responses.error"
)


@dataclass(frozen=True, slots=True)
class FoundCandidate:
    """A hit of a claim search; read as a task only when somebody wants it."""

    document_id: str
    source: dict[str, Any]
    rank: int
    version: Version

    @property
    def queue(self) -> str:
        """Its queue."""
        return self.document_id.partition(":")[0]

    @property
    def task_id(self) -> str:
        """Its id."""
        return self.document_id.partition(":")[2]

    @property
    def size(self) -> int:
        """About how many bytes its free-form parts have."""
        parts = (self.source.get("args"), self.source.get("context"))
        return sum(len(part) for part in parts if isinstance(part, str))  # it may be none of ours

    def task(self) -> Task:
        """The task as it was found.

        Raises:
            CorruptDocumentError: it can not be read.
        """
        return from_document(self.source, self.version, self.document_id)


class ElasticsearchTaskRepository:
    """Keeps tasks in the index behind one alias."""

    def __init__(
        self,
        *,
        alias: str,
        archive_alias: str,
        connection: Connection,
        writer: BulkWriter,
        reader: DocumentReader,
        clock: Clock,
        new_write_id: Callable[[], str],
        request_timeout: float,
    ) -> None:
        """Make a repository.

        Args:
            alias: where tasks are.
            archive_alias: where they go when they are finished.
            connection: to Elasticsearch.
            writer: of tasks.
            reader: of tasks.
            clock: for pauses.
            new_write_id: draws the mark of a write.
            request_timeout: seconds for one search.
        """
        self._alias = alias
        self._archive_alias = archive_alias
        self._connection = connection
        self._writer = writer
        self._reader = reader
        self._resolver = Resolver(alias=alias, reader=reader, clock=clock, unresolved=_unresolved)
        self._new_write_id = new_write_id
        self._request_timeout = request_timeout

    async def create(self, task: Task) -> Task:
        """Store a task that must not exist yet. See the port."""
        write_id = self._new_write_id()
        body = self._operation("create", task, write_id)
        until = self._resolver.latest()
        try:
            version = await self._writer.submit(Lane.CREATE, body)
        except (WriteConflictError, OutcomeUnknownError) as error:
            return await self._resolve_create(task, write_id, error, until)
        return task._replace(version=version)

    async def create_all(
        self, tasks: Sequence[Task], *, may_write: MayWrite | None = None
    ) -> list[Task | TasquesError]:
        """Store tasks that must not exist yet. See the port."""
        return await self._write_all("create", tasks, Lane.CREATE, self._resolve_create, may_write)

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task as of now. See the port."""
        found = await self._reader.get(self._alias, document_id(queue, task_id))
        if found is None:
            raise TaskNotFoundError(queue, task_id)
        return self._task(found, queue, task_id)

    async def update(self, task: Task, lane: Lane) -> Task:
        """Store a task if nobody wrote it since it was read. See the port."""
        write_id = self._new_write_id()
        body = self._operation("index", task, write_id)
        until = self._resolver.latest()
        try:
            version = await self._writer.submit(lane, body)
        except (WriteConflictError, OutcomeUnknownError) as error:
            return await self._resolve_update(task, write_id, error, until)
        return task._replace(version=version)

    async def update_all(
        self, tasks: Sequence[Task], lane: Lane, *, may_write: MayWrite | None = None
    ) -> list[Task | TasquesError]:
        """Store tasks that nobody wrote since they were read. See the port."""
        return await self._write_all("index", tasks, lane, self._resolve_update, may_write)

    async def search_claimable(
        self, searches: Sequence[ClaimSearch]
    ) -> Sequence[Sequence[Candidate]]:
        """Find claimable tasks for several questions at once. See the port."""
        if not searches:
            return []
        header = orjson.dumps({"index": self._alias}) + b"\n"
        body = b"".join(
            header + orjson.dumps(queries.claimable(search)) + b"\n" for search in searches
        )
        answer = await self._ask("POST", _SEARCH_TARGET, body, content_type=NDJSON)
        responses = orjson.loads(answer.body)["responses"]
        return [_candidates(response) for response in responses]

    async def timed_out(self, at: datetime) -> AsyncGenerator[Sequence[Task], None]:
        """Find tasks whose processing time was over. See the port."""
        question = queries.timed_out(at)
        found = pages(self._connection, self._alias, question, timeout=self._request_timeout)
        async with aclosing(found):
            async for hits in found:
                yield _readable_tasks(hits)

    async def refresh(self) -> None:
        """Make what was written visible to searches. See the port."""
        await self._ask("POST", f"/{self._alias}/_refresh", None)

    # ---------------------------------------------------------------- writing

    def _operation(self, action: str, task: Task, write_id: str) -> bytes:
        target: dict[str, object] = {
            "_index": self._alias,
            "_id": document_id(task.queue, task.id),
        }
        if task.version is not None:
            target["if_seq_no"] = task.version.seq_no
            target["if_primary_term"] = task.version.primary_term
        return orjson.dumps({action: target}) + b"\n" + to_document(task, write_id) + b"\n"

    async def _write_all(
        self,
        action: str,
        tasks: Sequence[Task],
        lane: Lane,
        resolve: _Resolve,
        may_write: MayWrite | None = None,
    ) -> list[Task | TasquesError]:
        write_ids = [self._new_write_id() for _ in tasks]
        bodies = [
            self._operation(action, task, write_id)
            for task, write_id in zip(tasks, write_ids, strict=True)
        ]
        until = self._resolver.latest()
        outcomes = await self._writer.submit_all(lane, bodies, may_write=may_write)
        return await settle_all(
            list(zip(tasks, write_ids, strict=True)),
            outcomes,
            stored=lambda task, version: task._replace(version=version),
            resolve=lambda task, write_id, outcome: resolve(task, write_id, outcome, until),
        )

    async def _resolve_create(
        self, task: Task, write_id: str, outcome: Exception, until: float
    ) -> Task:
        """Find out what a create that did not simply succeed means."""
        key = document_id(task.queue, task.id)
        found = await self._resolver.explain(
            key, outcome, until, lambda: self._resolver.what_is_there(key)
        )
        if found.source.get("incarnation") != task.incarnation:
            raise TaskAlreadyExistsError(task.queue, task.id)
        if found.source.get("write_id") == write_id:
            return task._replace(version=found.version)
        # Ours, and somebody has changed it since.
        return self._task(found, task.queue, task.id)

    async def _resolve_update(
        self, task: Task, write_id: str, outcome: Exception, until: float
    ) -> Task:
        """Find out what an update that did not simply succeed means."""
        key = document_id(task.queue, task.id)
        found = await self._resolver.explain(
            key, outcome, until, lambda: self._what_has_changed(task)
        )
        if found is not None and found.source.get("write_id") == write_id:
            return task._replace(version=found.version)
        raise VersionConflictError(task.queue, task.id)

    async def _what_has_changed(self, task: Task) -> Found | None:
        key = document_id(task.queue, task.id)
        found = await self._resolver.what_has_changed(key, task.version)
        if found is not None:
            return found
        return await find_archived(  # perhaps it was written, and archived before we looked
            self._connection,
            self._archive_alias,
            task.queue,
            task.id,
            timeout=self._request_timeout,
        )

    # ---------------------------------------------------------------- reading

    def _task(self, found: Found, queue: str, task_id: str) -> Task:
        return from_document(found.source, found.version, document_id(queue, task_id))

    async def _ask(
        self, method: str, target: str, body: bytes | None, **content_type: str
    ) -> Answer:
        try:
            answer = await self._connection.request(
                method, target, body, timeout=self._request_timeout, **content_type
            )
        except NoAnswerError as error:
            raise StoreUnavailableError("Elasticsearch does not answer.") from error
        if answer.status != 200:
            raise StoreUnavailableError(f"Elasticsearch refuses to search ({answer.status}).")
        return answer


def _unresolved(key: str) -> UnresolvedWriteError:
    queue, _, task_id = key.partition(":")
    return UnresolvedWriteError(queue, task_id)


def _candidates(response: dict[str, Any]) -> list[Candidate]:
    if response.get("status") != 200:
        error_type, _ = error_of(response)
        raise StoreUnavailableError(f"Elasticsearch can not search ({error_type}).")
    return [
        FoundCandidate(
            hit["_id"],
            hit["_source"],
            hit["sort"][0],
            Version(hit["_seq_no"], hit["_primary_term"]),
        )
        for hit in response.get("hits", {}).get("hits", ())
    ]


def _readable_tasks(hits: Iterable[Hit]) -> list[Task]:
    tasks = []
    for hit in hits:
        version = Version(hit["_seq_no"], hit["_primary_term"])
        try:
            tasks.append(from_document(hit["_source"], version, hit["_id"]))
        except CorruptDocumentError as error:
            log.error("broken document", extra={"reason": str(error)})  # noqa: TRY400 - says it all
    return tasks
