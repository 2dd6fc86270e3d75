"""Answers as they go over the wire: a status and JSON bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import orjson
from starlette.types import Send

from tasques.domain.task import Task

JSON_TYPE: Final = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """What a client is told; `body` is JSON.

    `on_undelivered` is to be called when it is known that the client did not get it; `tasks` are
    those that it is about.
    """

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    on_undelivered: Callable[[], None] | None = None
    tasks: Sequence[Task] = ()


def json_answer(status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An answer with `content` as its JSON."""
    return Answer(status, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE), headers)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    await send_start(send, answer)
    await send({"type": "http.response.body", "body": answer.body})


async def send_start(send: Send, answer: Answer) -> None:
    """Send what goes before the body."""
    length = (b"content-length", b"%d" % len(answer.body))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [JSON_TYPE, length, *answer.headers],
        }
    )
