"""The archive in Elasticsearch. Implements `tasques.domain.ports.TaskArchive`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import quote

import orjson

from tasques.domain.errors import TaskNotFoundError, TasquesError, VersionConflictError
from tasques.domain.ports import FinishedTask
from tasques.domain.task import Task
from tasques.repository import queries
from tasques.repository.archive_row import read_row
from tasques.repository.archived import find_archived
from tasques.repository.asking import ask
from tasques.repository.bulk_once import BulkOnce, Item
from tasques.repository.connection import Connection
from tasques.repository.documents import document_id, from_document
from tasques.repository.finished import FoundFinishedTask, finished_tasks
from tasques.repository.lifecycle import RolloverConditions
from tasques.repository.pages import pages
from tasques.repository.storing import Storing

_ROLLOVER_TIMEOUT: Final = 60.0  # seconds; a busy master takes up to 30 before it gives up


class ElasticsearchTaskArchive:
    """Moves tasks from behind one alias to behind another."""

    def __init__(
        self,
        *,
        tasks_alias: str,
        archive_alias: str,
        connection: Connection,
        conditions: RolloverConditions,
        max_bytes: int,
        request_timeout: float,
    ) -> None:
        """Make an archive.

        Args:
            tasks_alias: where finished tasks are.
            archive_alias: where they go.
            connection: to Elasticsearch.
            conditions: when to go on in a new index.
            max_bytes: of one request.
            request_timeout: seconds for one request.
        """
        self._tasks_alias = tasks_alias
        self._alias = archive_alias
        self._connection = connection
        self._conditions = conditions
        self._bulk = BulkOnce(connection=connection, max_bytes=max_bytes, timeout=request_timeout)
        self._timeout = request_timeout

    async def finished(self, before: datetime) -> AsyncGenerator[Sequence[FinishedTask], None]:
        """Find tasks that are to be moved. See the port."""
        question = queries.finished(before)
        found = pages(self._connection, self._tasks_alias, question, timeout=self._timeout)
        async with aclosing(found):
            async for hits in found:
                yield finished_tasks(hits)

    async def store(
        self, tasks: Sequence[FinishedTask], *, may_write: Callable[[], bool]
    ) -> Sequence[TasquesError | None]:
        """Have each task in the archive, once. See the port."""
        found = cast("Sequence[FoundFinishedTask]", tasks)
        storing = Storing(found, alias=self._alias, bulk=self._bulk, may_write=may_write)
        return await storing.run()

    async def remove(
        self, tasks: Sequence[FinishedTask], *, may_write: Callable[[], bool]
    ) -> Sequence[TasquesError | None]:
        """Take tasks away from where they were found. See the port."""
        found = cast("Sequence[FoundFinishedTask]", tasks)
        items = await self._bulk.send([self._removal(task) for task in found], may_write)
        return [_removed(task, item) for task, item in zip(found, items, strict=True)]

    async def get(self, queue: str, task_id: str) -> Task:
        """Read an archived task. See the port."""
        found = await find_archived(
            self._connection, self._alias, queue, task_id, timeout=self._timeout
        )
        if found is None:
            raise TaskNotFoundError(queue, task_id)
        task = from_document(found.source, found.version, document_id(queue, task_id))
        return task._replace(archived=True)

    async def roll_over(self) -> str | None:
        """Go on in a new index when it is time. See the port."""
        row = await read_row(self._connection, self._alias, timeout=self._timeout)
        if row.written.has_lifecycle:
            return None
        # The conditions see what the last refresh saw.
        await self._ask(f"/{row.written.name}/_refresh")
        conditions = {**self._conditions.members, "min_docs": 1}
        answer = await self._ask(
            f"/{quote(self._alias)}/_rollover", {"conditions": conditions}, _ROLLOVER_TIMEOUT
        )
        new_index: str = answer["new_index"]
        return new_index if answer["rolled_over"] else None

    async def _ask(
        self, target: str, body: object = None, seconds: float | None = None
    ) -> dict[str, Any]:
        seconds = self._timeout if seconds is None else seconds
        return await ask(self._connection, "POST", target, body, timeout=seconds)

    def _removal(self, task: FoundFinishedTask) -> bytes:
        target = {
            "_index": self._tasks_alias,
            "_id": task.document_id,
            "if_seq_no": task.version.seq_no,
            "if_primary_term": task.version.primary_term,
        }
        return orjson.dumps({"delete": target}) + b"\n"


def _removed(task: FoundFinishedTask, item: Item) -> TasquesError | None:
    if item.status == 409:
        return VersionConflictError(task.queue, task.task_id)
    return item.error
