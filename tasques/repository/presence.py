"""Signs of life in Elasticsearch. Implements `tasques.domain.ports.PresenceRepository`.

One small document for each process that hands out tasks, written anew with each sign of life.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        self._written: dict[str, Version] = {}

    async def beat(self, process_id: str) -> Mapping[str, Version]:
        """Give a sign of life, and look who else does. See the port."""
        before = self._written.pop(process_id, None)
        action = "index" if before else "create"
        body = self._action(action, process_id, before)
        body += orjson.dumps({"process_id": process_id}) + b"\n"
        try:
            own = self._written[process_id] = await self._writer.submit(Lane.CLAIM, body)
        except (WriteConflictError, OutcomeUnknownError):
            # Written by an earlier try, or not: what is there now is as good a sign of life.
            found = await self._reader.get(self._alias, process_id)
            if found is None:
                raise StoreUnavailableError("A sign of life could not be written.") from None
            own = self._written[process_id] = found.version
        return {**await self._all(process_id, before, own), process_id: own}

    async def remove(self, process_id: str, version: Version) -> None:
        """Forget a process. See the port."""
        self._written.pop(process_id, None)
        try:
            await self._writer.submit(Lane.CLAIM, self._action("delete", process_id, version))
        except WriteConflictError:
            return
        except OutcomeUnknownError as error:
            raise StoreUnavailableError("Elasticsearch does not answer.") from error

    def _action(self, action: str, process_id: str, version: Version | None) -> bytes:
        target: dict[str, object] = {"_index": self._alias, "_id": process_id}
        if version is not None:
            target["if_seq_no"] = version.seq_no
            target["if_primary_term"] = version.primary_term
        return orjson.dumps({action: target}) + b"\n"

    async def _all(
        self, process_id: str, before: Version | None, own: Version
    ) -> dict[str, Version]:
        """All signs of life, none of them older than the own one before the latest."""
        if before is None:  # whoever begins wants to see the others that do
            await self._ask(f"/{self._alias}/_refresh", None)
            return await self._search()
        found = await self._search()
        if found.get(process_id) not in (before, own):  # by itself it is refreshed too seldom
            await self._ask(f"/{self._alias}/_refresh", None)
            found = await self._search()
        return found

    async def _search(self) -> dict[str, Version]:
        answer = await self._ask(f"/{self._alias}/_search", _SEARCH)
        try:
            hits = orjson.loads(answer)["hits"]["hits"]
            return {hit["_id"]: Version(hit["_seq_no"], hit["_primary_term"]) for hit in hits}
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
