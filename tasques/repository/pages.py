"""Searches over everything, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import orjson

from tasques.domain.errors import TasquesError
from tasques.repository.asking import ask, read, send
from tasques.repository.connection import Answer, Connection

_FIRST_SIZE: Final = 50
_MAX_SIZE: Final = 500
_GOOD_BYTES: Final = 4 * 1024 * 1024
_KEEP_ALIVE: Final = "2m"  # for the work that is done on one page
# By default Elasticsearch answers 200 when a part of the index could not be searched.
_SEARCH_TARGET: Final = "/_search?allow_partial_search_results=false"

Hit = dict[str, Any]


async def pages(
    connection: Connection,
    alias: str,
    question: Mapping[str, Any],
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it, for each request
) -> AsyncGenerator[list[Hit], None]:
    """Yield all hits as of one point in time, in pages of a few megabytes.

    Few hits, or none, are one request; only for more a point in time is held. Close the generator
    when it is not read to its end.

    Args:
        connection: to Elasticsearch.
        alias: what is searched.
        question: query and sort; the sort need not be unique.
        timeout: seconds for one request.

    Raises:
        UnavailableError: not everything can be searched now.
    """
    hits, is_all, size = await _glance(connection, alias, question, timeout)
    if is_all:
        if hits:
            yield hits
        return
    point_in_time = _PointInTime(connection, timeout)
    await point_in_time.open(alias)
    after: list[Any] | None = None
    try:
        while True:
            answer = await point_in_time.search(question, size=size, after=after)
            if answer.status == 429 and size > 1:
                size = _smaller(size)
                continue
            hits = point_in_time.read(answer)
            if hits:
                yield hits
                after = hits[-1]["sort"]
            if len(hits) < size:
                return
            size = _next_size(size, len(answer.body))
    finally:
        await point_in_time.close()


async def _glance(
    connection: Connection, alias: str, question: Mapping[str, Any], seconds: float
) -> tuple[list[Hit], bool, int]:
    """The first hits, whether they are all, and how many to ask for otherwise."""
    size = _FIRST_SIZE
    content = orjson.dumps({**question, "size": size})
    target = f"/{quote(alias)}{_SEARCH_TARGET}"
    answer = await send(connection, "POST", target, content, timeout=seconds)
    if answer.status == 429:
        return [], False, _smaller(size)
    hits: list[Hit] = read(answer)["hits"]["hits"]
    return hits, len(hits) < size, _next_size(size, len(answer.body))


def _smaller(size: int) -> int:
    """How many to ask for when an answer may have been too large for Elasticsearch's memory."""
    return max(1, size // 8)


def _next_size(size: int, answered_bytes: int) -> int:
    fitting = size * _GOOD_BYTES // max(1, answered_bytes)
    return max(1, min(fitting, 2 * size, _MAX_SIZE))


class _PointInTime:
    """A view of an index that stays as it was."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._timeout = seconds
        self._id = ""

    async def open(self, alias: str) -> None:
        target = f"/{quote(alias)}/_pit?keep_alive={_KEEP_ALIVE}"
        answer = await ask(self._connection, "POST", target, timeout=self._timeout)
        self._id = answer["id"]

    async def search(
        self, question: Mapping[str, Any], *, size: int, after: list[Any] | None
    ) -> Answer:
        body = {**question, "size": size, "pit": {"id": self._id, "keep_alive": _KEEP_ALIVE}}
        if after is not None:
            body["search_after"] = after
        content = orjson.dumps(body)
        return await send(self._connection, "POST", _SEARCH_TARGET, content, timeout=self._timeout)

    def read(self, answer: Answer) -> list[Hit]:
        content = read(answer)
        self._id = content["pit_id"]
        hits: list[Hit] = content["hits"]["hits"]
        return hits

    async def close(self) -> None:
        """Free what Elasticsearch holds; if that fails, it ends by itself in a few minutes."""
        with suppress(TasquesError):
            await ask(self._connection, "DELETE", "/_pit", {"id": self._id}, timeout=self._timeout)
