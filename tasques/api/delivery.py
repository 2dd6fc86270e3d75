"""Answers that must not get lost halfway: who takes only a part of one can not use it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Send

from tasques.api.answers import Answer, send_answer, send_start
from tasques.api.connection import ClientWatch

_SENT_AT_ONCE: Final = 64 * 1024  # the server takes so much from us before it has sent it
_LAST: Final = 2  # bytes; without the closing bracket no answer can be read
_TURNS: Final = 4  # of the event loop, until a failure to send has come round


async def deliver(receive: Receive, send: Send, answer: Answer) -> None:
    """Send an answer; if its client goes away before most of it was sent, say so.

    The end is kept back until the server has sent the rest, so whoever has left by then can not
    have it all. Nobody can tell whether what the system keeps for a client is read in the end.
    """
    if answer.on_undelivered is None or len(answer.body) <= _SENT_AT_ONCE:
        await send_answer(send, answer)
        return
    is_gone = True
    try:
        async with ClientWatch(receive) as client:
            await send_start(send, answer)
            await _send_part(send, answer.body[:-_LAST])
            await _send_part(send, b"")  # is taken when there is room again
            for _ in range(_TURNS):
                await asyncio.sleep(0)  # noqa: TID251 - gives way, does not wait
        is_gone = client.is_gone
    finally:
        if is_gone:
            answer.on_undelivered()
    await send({"type": "http.response.body", "body": answer.body[-_LAST:]})


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
