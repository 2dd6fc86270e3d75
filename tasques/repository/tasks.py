"""Tasks in Elasticsearch. Implements `tasques.domain.ports.TaskRepository`.

A conflict is never believed at once. Answers get lost, the writer repeats, and Elasticsearch
repeats too, when a primary dies: so a 409 may be the echo of our own write. After each one the
document is read, and our `write_id` (or, after a create, our `incarnation`) in it means that the
write took place.
"""

from __future__ import annotations

import asyncio
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
    UnavailableError,
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
from tasques.repository.verdict import error_of
from tasques.repository.writes import MayWrite

_Resolve = Callable[[Task, str, Exception, float], Awaitable[Task]]

log = logging.getLogger(__name__)

_STALE_READ_PAUSE: Final = 0.05
_MOST_SECONDS: Final = 9.5  # of a write and its explanation; old clients give up after 10
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
        self._clock = clock
        self._new_write_id = new_write_id
        self._request_timeout = request_timeout

    async def create(self, task: Task) -> Task:
        """Store a task that must not exist yet. See the port."""
        write_id = self._new_write_id()
        body = self._operation("create", task, write_id)
        until = self._clock.monotonic() + _MOST_SECONDS
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
        until = self._clock.monotonic() + _MOST_SECONDS
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
        until = self._clock.monotonic() + _MOST_SECONDS
        outcomes = await self._writer.submit_all(lane, bodies, may_write=may_write)

        async def settle(task: Task, write_id: str, outcome: Exception) -> Task | TasquesError:
            try:
                return await resolve(task, write_id, outcome, until)
            except TasquesError as error:
                return error

        settled: dict[int, Task | TasquesError] = {}
        unsettled = []
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Version):
                settled[number] = tasks[number]._replace(version=outcome)
            else:
                unsettled.append((number, settle(tasks[number], write_ids[number], outcome)))
        late = await asyncio.gather(*(settling for _, settling in unsettled))
        settled |= zip((number for number, _ in unsettled), late, strict=True)
        return [settled[number] for number in range(len(tasks))]

    async def _resolve_create(
        self, task: Task, write_id: str, outcome: Exception, until: float
    ) -> Task:
        """Find out what a create that did not simply succeed means."""
        _raise_if_final(task, outcome)
        # A read that shows nothing where a create conflicted is older than the conflict.
        found = await self._read_until(task, until, lambda found: found is not None)
        if found is None or found.source.get("incarnation") != task.incarnation:
            raise TaskAlreadyExistsError(task.queue, task.id)
        if found.source.get("write_id") == write_id:
            return task._replace(version=found.version)
        # Ours, and somebody has changed it since.
        return self._task(found, task.queue, task.id)

    async def _resolve_update(
        self, task: Task, write_id: str, outcome: Exception, until: float
    ) -> Task:
        """Find out what an update that did not simply succeed means."""
        _raise_if_final(task, outcome)
        # A read that shows the version that the write was conditional on is older than it.
        found = await self._read_until(
            task, until, lambda found: found is None or found.version != task.version
        )
        if found is None:
            found = await self._find_archived(task)  # written, and archived before we looked
        if found is not None and found.source.get("write_id") == write_id:
            return task._replace(version=found.version)
        raise VersionConflictError(task.queue, task.id)

    async def _find_archived(self, task: Task) -> Found | None:
        try:
            return await find_archived(
                self._connection,
                self._archive_alias,
                task.queue,
                task.id,
                timeout=self._request_timeout,
            )
        except UnavailableError as error:
            raise UnresolvedWriteError(task.queue, task.id) from error

    async def _read_until(
        self, task: Task, until: float, is_fresh: Callable[[Found | None], bool]
    ) -> Found | None:
        """Read until the answer can not be older than the conflict that it has to explain."""
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                while True:
                    key = document_id(task.queue, task.id)
                    if is_fresh(found := await self._reader.get(self._alias, key)):
                        return found
                    await self._clock.sleep(_STALE_READ_PAUSE)
        except (TimeoutError, UnavailableError) as error:
            raise UnresolvedWriteError(task.queue, task.id) from error

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


def _raise_if_final(task: Task, outcome: Exception) -> None:
    """Raise what there is nothing to find out about: everything but a conflict."""
    if isinstance(outcome, OutcomeUnknownError):
        raise UnresolvedWriteError(task.queue, task.id) from outcome
    if not isinstance(outcome, WriteConflictError):
        raise outcome


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
