"""Answers as they go over the wire: a status and JSON bytes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson
from starlette.types import Send

JSON_TYPE: Final = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """What a client is told; `body` is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An answer with `content` as its JSON."""
    return Answer(status, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE), headers)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    status, body, headers = answer
    length = (b"content-length", b"%d" % len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON_TYPE, length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
