"""A connection to Elasticsearch that answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

import orjson
from fakes import settle

from tasques.domain.ports import Lane
from tasques.repository.connection import Answer

Item: TypeAlias = dict[str, Any]


@dataclass(slots=True, eq=False)
class Request:
    """What was asked; it is answered by `answer` or `fail`."""

    target: str
    body: bytes
    timeout: float
    reply: asyncio.Future[Answer] = field(repr=False)

    @property
    def ids(self) -> list[str]:
        """The ids of what was asked, in order."""
        if self.target == "/_mget":
            return [document["_id"] for document in orjson.loads(self.body)["docs"]]
        lines = [orjson.loads(line) for line in self.body.splitlines()]
        return [line["create"]["_id"] for line in lines if "create" in line]

    def answer(self, status: int, body: object) -> None:
        """Answer with a status and a body, which may be bytes or JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        self.reply.set_result(Answer(status, content))

    def answer_items(self, *items: Item) -> None:
        """Answer a bulk request with these results."""
        self.answer(200, bulk_answer(items))

    def succeed(self) -> None:
        """Answer that all was done."""
        self.answer_items(*(done() for _ in self.ids))

    def fail(self, error: Exception) -> None:
        """Answer nothing."""
        self.reply.set_exception(error)


class ScriptedConnection:
    """Keeps requests until they are answered, or answers them by a function."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.respond: Callable[[Request], None] | None = None

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 - as the real one
        content_type: str = "",
    ) -> Answer:
        reply = asyncio.get_running_loop().create_future()
        request = Request(target, body or b"", timeout, reply)
        self.requests.append(request)
        if self.respond is not None:
            self.respond(request)
        return await reply

    @property
    def open(self) -> list[Request]:
        """The requests that wait for an answer."""
        return [request for request in self.requests if not request.reply.done()]

    async def next(self) -> Request:
        """The one request that waits for an answer."""
        await settle()
        (request,) = self.open
        return request


def an_operation(name: str, size: int = 0) -> bytes:
    """A create of a document of that id."""
    return b'{"create":{"_id":"%b"}}\n{"text":"%b"}\n' % (name.encode(), b"x" * size)


def bulk_answer(items: Sequence[Item]) -> object:
    return {"errors": any("error" in item for item in items), "items": [{"x": i} for i in items]}


def done(seq_no: int = 7) -> Item:
    return {"_index": "tasks-v1", "status": 201, "_seq_no": seq_no, "_primary_term": 1}


def refused(status: int, error_type: str = "some_exception", index: str = "tasks-v1") -> Item:
    return {
        "_index": index,
        "status": status,
        "error": {"type": error_type, "reason": f"because of {error_type}"},
    }


class Longest(Random):
    """Makes every pause as long as it may be."""

    def uniform(self, a, b):
        return b


def submit(writer, *names, lane=Lane.CREATE, size=0):
    """Submit operations together; return what waits for each."""
    waiting = [
        asyncio.create_task(writer.submit(lane, an_operation(name, size)), name=name)
        for name in names
    ]
    for task in waiting:
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return waiting


async def outcomes(waiting):
    """What became of each: a version, an exception, or None while it is not known."""
    await settle()
    return [None if not task.done() else task.exception() or task.result() for task in waiting]


async def kinds(waiting):
    return [type(outcome) for outcome in await outcomes(waiting)]


def respond_by(connection, judge):
    """Answer each operation by its id: `judge` makes the item."""
    connection.respond = lambda request: request.answer_items(*map(judge, request.ids))
