"""Sends recorded requests to a server, in order, and collects where its answers differ."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

from conformance.comparison import differences
from conformance.intended import Intended
from conformance.transcripts import Answer, Exchange
from elasticsearch import AsyncElasticsearch

from tasques.domain.claim_rank import claim_rank

PATIENCE = 40.0  # seconds for one answer
REMEMBERED = 1.5  # seconds; a server may deal what it found a while ago, without a new search


def send(
    address: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
) -> Answer:
    """Send a request just as given: the path is not touched, and no header is added but Host."""
    there = urlsplit(address)
    connection = HTTPConnection(there.hostname or "", there.port, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        content = None if body is None else body.encode()
        if content is not None:
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=_decoded(response.read()),
            at=datetime.now(UTC),
        )
    finally:
        connection.close()


def _decoded(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


@dataclass(frozen=True)
class StoredTasks:
    """The tasks in Elasticsearch, for what a transcript does there."""

    elasticsearch: AsyncElasticsearch
    alias: str

    async def refresh(self) -> None:
        """Let searches find all that was written."""
        await self.elasticsearch.indices.refresh(index=self.alias)

    async def set_run_at(self, queue: str, task_id: str, run_at: str) -> None:
        """Make a task that is to be retried due at another time."""
        key = f"{queue}:{task_id}"
        found = await self.elasticsearch.get(index=self.alias, id=key)
        rank = claim_rank(found["_source"]["priority"], datetime.fromisoformat(run_at))
        due = {"run_at": run_at, "due_at": run_at, "claim_rank": rank}
        await self.elasticsearch.update(index=self.alias, id=key, doc=due, refresh=True)


@dataclass
class Replay:
    """One server under comparison.

    Attributes:
        address: of the server.
        tasks: where it stores them.
        intended: by the number of the exchange, where another answer is right.
    """

    address: str
    tasks: StoredTasks
    intended: Mapping[int, Intended]
    _ids: dict[str, str] = field(default_factory=dict)

    async def play(self, exchange: Exchange) -> list[str]:
        """Send one request; returns how the answer differs from what it should be."""
        await self._prepare(exchange)
        answer = await self._send(
            exchange.method, self._path(exchange), exchange.headers, exchange.body
        )
        if exchange.capture_id_as is not None and isinstance(answer.body, dict):
            self._ids[exchange.capture_id_as] = answer.body.get("id", "")
        expected = exchange.answer
        if intended := self.intended.get(exchange.number):
            expected = intended.instead_of(expected)
            if intended.give_back:
                await self._give_back(answer, exchange.headers)
            for method, path, *body in intended.sent_after:
                await self._send(method, path, exchange.headers, *body)
        return [f"{exchange.title}: {each}" for each in differences(expected, answer)]

    async def _prepare(self, exchange: Exchange) -> None:
        if exchange.waited_s:
            await self.tasks.refresh()
        if there := exchange.set_run_at:
            await self.tasks.set_run_at(there["queue"], there["id"], there["run_at"])
        for method, path in exchange.sent_before:
            await self._send(method, path)

    def _path(self, exchange: Exchange) -> str:
        path = exchange.path
        for name, value in self._ids.items():
            path = path.replace(f"{{{{{name}}}}}", value)
        return path

    async def _give_back(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """Unclaim what was claimed, so that later exchanges find what the original had."""
        for task in answer.body if isinstance(answer.body, list) else []:
            path = f"/tasques/claims/{quote(task['queue'])}/{quote(task['id'])}"
            await self._send("DELETE", path, headers)
        await self.tasks.refresh()
        await asyncio.sleep(REMEMBERED)

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> Answer:
        return await asyncio.to_thread(send, self.address, method, path, headers, body)
