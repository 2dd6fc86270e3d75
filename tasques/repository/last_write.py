"""The number of the last write of an index, told without making anything visible or searching."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import quote

import orjson

from tasques.repository.asking import send
from tasques.repository.connection import Connection
from tasques.repository.verdict import read_error

log = logging.getLogger(__name__)

# The numbers come with figures of any kind; these are among the least work.
_STATS: Final = "_stats/refresh?level=shards&filter_path=indices.*.shards"


class LastWrite:
    """Looks at the primary shard behind one alias, which has no other."""

    def __init__(self, *, alias: str, connection: Connection, request_timeout: float) -> None:
        """Look at the index behind `alias`; `request_timeout` is in seconds."""
        self._target = f"/{quote(alias)}/{_STATS}"
        self._connection = connection
        self._timeout = request_timeout
        self._may_ask = True

    async def number(self) -> int | None:
        """The number of the last write, as of now.

        Returns:
            -1 where nothing was ever written; None if it can not be told, which is also the case
            while a write is under way.

        Raises:
            UnavailableError: Elasticsearch does not answer.
        """
        if not self._may_ask:
            return None
        answer = await send(self._connection, "GET", self._target, timeout=self._timeout)
        if answer.status == 403:
            self._may_ask = False
            log.info(
                "this server may not ask for the last write, so it searches more often: its user "
                "should have the index privilege monitor",
                extra={"reason": read_error(answer.body)[1]},
            )
        return _number(answer.body) if answer.status == 200 else None


def _number(body: bytes) -> int | None:
    try:
        (index,) = orjson.loads(body)["indices"].values()
        (copies,) = index["shards"].values()
        (numbers,) = [copy["seq_no"] for copy in copies if copy["routing"]["primary"]]
        last: int = numbers["max_seq_no"]
        is_done = last == numbers["local_checkpoint"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return last if is_done else None
