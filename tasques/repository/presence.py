"""Signs of life in Elasticsearch. Implements `tasques.domain.ports.PresenceRepository`.

One small document for each process that hands out tasks, written anew with each sign of life.

A shard numbers its writes. Where the index has a single one, and a sign of life has the number
after that of the one before it, nobody else has written anything in between, and there is nothing
new to be found. So a process alone writes, and need not search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from tasques.domain.errors import StoreUnavailableError
from tasques.domain.ports import Lane
from tasques.domain.task import Version
from tasques.repository.bulk import BulkWriter, OutcomeUnknownError, WriteConflictError
from tasques.repository.connection import Connection, NoAnswerError
from tasques.repository.reads import DocumentReader

_MAX_PROCESSES: Final = 1000
_SEARCH: Final = orjson.dumps(
    {"size": _MAX_PROCESSES, "_source": False, "seq_no_primary_term": True}
)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a process knew after a sign of life.

    Attributes:
        own: the version of that sign of life.
        found: the latest of all processes.
        is_whole: whether nothing is missing in that which was written before the own one.
    """

    own: Version
    found: Mapping[str, Version]
    is_whole: bool


class ElasticsearchPresenceRepository:
    """Keeps signs of life in the index behind one alias."""

    def __init__(
        self,
        *,
        alias: str,
        connection: Connection,
        writer: BulkWriter,
        reader: DocumentReader,
        request_timeout: float,
    ) -> None:
        """Make a repository; `request_timeout` is in seconds."""
        self._alias = alias
        self._connection = connection
        self._writer = writer
        self._reader = reader
        self._request_timeout = request_timeout
        self._looks: dict[str, _Look] = {}

    async def beat(self, process_id: str) -> Mapping[str, Version]:
        """Give a sign of life, and look who else does. See the port."""
        before = self._looks.pop(process_id, None)
        last = None if before is None else before.own
        own = await self._write(process_id, last)
        if before is not None and before.is_whole and _is_next(own, before.own):
            look = _Look(own, {**before.found, process_id: own}, is_whole=True)
        else:
            self._looks[process_id] = _Look(own, {}, is_whole=False)  # if the search fails
            look = await self._look(process_id, last, own)
        self._looks[process_id] = look
        return look.found

    async def remove(self, process_id: str, version: Version) -> None:
        """Forget a process. See the port."""
        self._looks.pop(process_id, None)
        try:
            await self._writer.submit(Lane.CLAIM, self._action("delete", process_id, version))
        except WriteConflictError:
            return
        except OutcomeUnknownError as error:
            raise StoreUnavailableError("Elasticsearch does not answer.") from error

    async def _write(self, process_id: str, before: Version | None) -> Version:
        action = "index" if before else "create"
        body = self._action(action, process_id, before)
        body += orjson.dumps({"process_id": process_id}) + b"\n"
        try:
            return await self._writer.submit(Lane.CLAIM, body)
        except (WriteConflictError, OutcomeUnknownError):
            # Written by an earlier try, or not: what is there now is as good a sign of life.
            found = await self._reader.get(self._alias, process_id)
            if found is None:
                raise StoreUnavailableError("A sign of life could not be written.") from None
            return found.version

    def _action(self, action: str, process_id: str, version: Version | None) -> bytes:
        target: dict[str, object] = {"_index": self._alias, "_id": process_id}
        if version is not None:
            target["if_seq_no"] = version.seq_no
            target["if_primary_term"] = version.primary_term
        return orjson.dumps({action: target}) + b"\n"

    async def _look(self, process_id: str, before: Version | None, own: Version) -> _Look:
        """All signs of life, none of them older than the own one before the latest."""
        if before is None:  # whoever begins wants to see the others that do
            await self._refresh()
        found, is_single = await self._search()
        if found.get(process_id) not in (before, own):  # by itself it is refreshed too seldom
            await self._refresh()
            found, is_single = await self._search()
        shown = found.get(process_id)
        is_shown = shown is not None and (shown == own or _is_next(own, shown))
        return _Look(own, {**found, process_id: own}, is_whole=is_single and is_shown)

    async def _refresh(self) -> None:
        await self._ask(f"/{self._alias}/_refresh", None)

    async def _search(self) -> tuple[dict[str, Version], bool]:
        """What a search shows, and whether it asked a single shard, and got its answer."""
        answer = await self._ask(f"/{self._alias}/_search", _SEARCH)
        try:
            content = orjson.loads(answer)
            shards, hits = content["_shards"], content["hits"]["hits"]
            found = {hit["_id"]: Version(hit["_seq_no"], hit["_primary_term"]) for hit in hits}
            return found, shards["total"] == shards["successful"] == 1
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise StoreUnavailableError("This is not what Elasticsearch answers.") from error

    async def _ask(self, target: str, body: bytes | None) -> bytes:
        try:
            answer = await self._connection.request(
                "POST", target, body, timeout=self._request_timeout
            )
        except NoAnswerError as error:
            raise StoreUnavailableError("Elasticsearch does not answer.") from error
        if answer.status != 200:
            raise StoreUnavailableError(f"Elasticsearch refuses to search ({answer.status}).")
        return answer.body


def _is_next(later: Version, earlier: Version) -> bool:
    """Whether nothing else was written between these two writes, if they are of one shard."""
    return later.primary_term == earlier.primary_term and later.seq_no == earlier.seq_no + 1
