"""Putting a page of finished tasks into the archive, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    goes on in new ones. So *after* a task was created, the other indices that an earlier or a
    concurrent try may have put it into are asked for it, and of several copies the oldest stays.
    To ask before would be neither needed nor enough: the other one may still be on its way.
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
        # Of each task: the indices that have it, with the version if it is known.
        self._copies: list[dict[str, Version | None]] = [{} for _ in tasks]
        self._errors: list[TasquesError | None] = [None for _ in tasks]

    async def run(self) -> list[TasquesError | None]:
        """Return for each task None, if it is in the archive for good, or why it may not be.

        Raises:
            NotLeadingError, UnavailableError: it was broken off; nothing is certain.
        """
        await self._create()
        if any(self._copies):
            row = await read_row(self._bulk.connection, self._alias, timeout=self._bulk.timeout)
            await self._look(row)
            await self._remove_doubles(row)
            await self._refresh()
        return self._errors

    async def _create(self) -> None:
        operations = [self._creation(task) for task in self._tasks]
        items = await self._bulk.send(operations, self._may_write)
        for number, item in enumerate(items):
            if item.status in _IS_THERE:
                self._copies[number][item.index] = item.version
            else:
                self._errors[number] = item.error

    def _creation(self, task: FoundFinishedTask) -> bytes:
        action = {"create": {"_index": self._alias, "_id": task.archive_id}}
        return orjson.dumps(action) + b"\n" + orjson.dumps(task.source) + b"\n"

    async def _look(self, row: ArchiveRow) -> None:
        """Find out which other indices have the tasks."""
        places: dict[Place, int] = {}
        for number, (task, copies) in enumerate(zip(self._tasks, self._copies, strict=True)):
            if not copies:
                continue
            indices = {*row.may_hold(task.finished_at), *copies}
            if len(indices) > 1:
                known = {index for index, version in copies.items() if version is not None}
                places |= {Place(name, task.archive_id): number for name in indices - known}
        found = await look_up(self._bulk.connection, list(places), timeout=self._bulk.timeout)
        for place, outcome in found.items():
            number = places[place]
            if isinstance(outcome, TasquesError):
                self._errors[number] = outcome
            elif outcome is not None:
                self._copies[number][place.index] = outcome
            elif place.index in self._copies[number]:
                # The other one has just removed it as a double; the next pass sees what is left.
                self._errors[number] = StoreUnavailableError("Others archive it, too.")

    async def _remove_doubles(self, row: ArchiveRow) -> None:
        doubles = [
            (number, index)
            for number, copies in enumerate(self._copies)
            if self._errors[number] is None
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
