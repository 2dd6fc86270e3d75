"""Putting a page of finished tasks into the archive, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import orjson

from tasques.domain.errors import StoreUnavailableError, TasquesError
from tasques.domain.task import Version
from tasques.repository.archive_row import ArchiveRow, read_row
from tasques.repository.asking import ask
from tasques.repository.bulk_once import BulkOnce
from tasques.repository.copies import Place, look_up
from tasques.repository.finished import FoundFinishedTask

_IS_THERE = frozenset({201, 409})
_IS_GONE = frozenset({200, 404, 409})


class Storing:
    """One try.

    A task is only ever created under its own `_id`, so whoever comes second gets a conflict,
    which means that it is there. But an `_id` is unique within one index only, and the archive
    goes on in new ones: so the older indices into which an earlier try may have put the task are
    asked for it first; and afterwards, if there was a roll-over meanwhile.
    """

    def __init__(
        self,
        tasks: Sequence[FoundFinishedTask],
        *,
        alias: str,
        bulk: BulkOnce,
        may_write: Callable[[], bool],
    ) -> None:
        self._tasks = tasks
        self._alias = alias
        self._bulk = bulk
        self._may_write = may_write
        # Of each task: the indices that have it, with the version if it was read.
        self._copies: list[dict[str, Version | None]] = [{} for _ in tasks]
        self._errors: list[TasquesError | None] = [None for _ in tasks]

    async def run(self) -> list[TasquesError | None]:
        """Return for each task None, if it is in the archive for good, or why it may not be.

        Raises:
            NotLeadingError, StoreUnavailableError: it was broken off; nothing is certain.
        """
        row = await self._read_row()
        older = [row.older_than_written(task.finished_at) for task in self._tasks]
        await self._look(range(len(self._tasks)), older)
        there = [number for number, copies in enumerate(self._copies) if copies]
        if there:  # is it in the written one as well?
            await self._look(there, [[row.written.name]] * len(there))
        created = await self._create(row)
        if created:
            row = await self._read_row()
            older = [row.older_than_written(self._tasks[number].finished_at) for number in created]
            await self._look(created, [[*indices, row.written.name] for indices in older])
        await self._remove_doubles(row)
        await self._refresh()
        return self._errors

    async def _read_row(self) -> ArchiveRow:
        return await read_row(self._bulk.connection, self._alias, timeout=self._bulk.timeout)

    async def _look(self, numbers: Iterable[int], indices: Sequence[Sequence[str]]) -> None:
        """Look for tasks, each in its indices."""
        places = {
            Place(index, self._tasks[number].archive_id): number
            for number, where in zip(numbers, indices, strict=True)
            for index in where
        }
        found = await look_up(self._bulk.connection, list(places), timeout=self._bulk.timeout)
        for place, outcome in found.items():
            number = places[place]
            if isinstance(outcome, TasquesError):
                self._errors[number] = outcome
            elif outcome is not None:
                self._copies[number][place.index] = outcome

    async def _create(self, row: ArchiveRow) -> list[int]:
        """Create what is nowhere; return those that another index than was expected has."""
        numbers = [
            number
            for number, copies in enumerate(self._copies)
            if not copies and self._errors[number] is None
        ]
        operations = [self._creation(self._tasks[number]) for number in numbers]
        elsewhere = []
        for number, item in zip(
            numbers, await self._bulk.send(operations, self._may_write), strict=True
        ):
            if item.status not in _IS_THERE:
                self._errors[number] = item.error
                continue
            self._copies[number][item.index] = item.version
            if item.index != row.written.name:  # there was a roll-over meanwhile
                elsewhere.append(number)
        return elsewhere

    def _creation(self, task: FoundFinishedTask) -> bytes:
        action = {"create": {"_index": self._alias, "_id": task.archive_id}}
        return orjson.dumps(action) + b"\n" + orjson.dumps(task.source) + b"\n"

    async def _remove_doubles(self, row: ArchiveRow) -> None:
        """Where two tries were made before and after a roll-over, the first one counts."""
        doubles = [
            (number, index)
            for number, copies in enumerate(self._copies)
            if len(copies) > 1
            for index in sorted(copies, key=row.position)[1:]
        ]
        operations = [self._removal(number, index) for number, index in doubles]
        items = await self._bulk.send(operations, self._may_write)
        for (number, _), item in zip(doubles, items, strict=True):
            if item.status not in _IS_GONE:
                self._errors[number] = item.error

    def _removal(self, number: int, index: str) -> bytes:
        target: dict[str, object] = {
            "_index": index,
            "_id": self._tasks[number].archive_id,
            "require_alias": False,  # the alias stands for all of them
        }
        if (version := self._copies[number][index]) is not None:
            target["if_seq_no"], target["if_primary_term"] = version
        return orjson.dumps({"delete": target}) + b"\n"

    async def _refresh(self) -> None:
        """Let everybody find what is there, before it is taken away elsewhere."""
        indices = sorted({index for copies in self._copies for index in copies})
        if not indices:
            return
        target = f"/{','.join(indices)}/_refresh"
        answer = await ask(self._bulk.connection, "POST", target, timeout=self._bulk.timeout)
        if answer["_shards"]["failed"]:
            raise StoreUnavailableError("The archive can not be refreshed in full.")
