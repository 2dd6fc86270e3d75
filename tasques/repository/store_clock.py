"""Elasticsearch's clock. Implements `tasques.domain.ports.StoreClock`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.connection import Answer, Connection, NoAnswerError
from tasques.repository.verdict import Verdict, judge, read_error

log = logging.getLogger(__name__)

# Of all that a node tells about itself this is among the least work.
_TARGET: Final = "/_nodes/_local/stats/breaker?filter_path=nodes.*.timestamp"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ElasticsearchClock:
    """The clock of the node that happens to be asked: they should all agree."""

    def __init__(self, connection: Connection, *, request_timeout: float) -> None:
        """Make a clock; `request_timeout` is in seconds."""
        self._connection = connection
        self._timeout = request_timeout
        self._has_warned = False

    async def now(self) -> datetime | None:
        """What it shows. See the port."""
        try:
            answer = await self._connection.request("GET", _TARGET, timeout=self._timeout)
        except NoAnswerError as error:
            raise StoreUnavailableError(f"Elasticsearch does not answer ({error}).") from error
        if answer.status == 200 and (timestamp := _timestamp(answer.body)) is not None:
            return _EPOCH + timedelta(milliseconds=timestamp)
        self._note_refusal(answer)
        return None

    def _note_refusal(self, answer: Answer) -> None:
        error_type, reason = read_error(answer.body)
        if judge(answer.status, error_type) in (Verdict.TRY_AGAIN, Verdict.TRY_AGAIN_UNSURE):
            raise StoreUnavailableError(
                f"Elasticsearch refuses for now ({answer.status}): {reason}"
            )
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "this server may not look at Elasticsearch's clock, so it trusts its own: its "
                "user should have the cluster privilege monitor",
                extra={"status": answer.status, "reason": reason},
            )


def _timestamp(body: bytes) -> int | None:
    """Milliseconds since 1970, if they are told."""
    try:
        nodes: dict[str, Any] = orjson.loads(body)["nodes"]
        return int(next(iter(nodes.values()))["timestamp"])
    except (orjson.JSONDecodeError, AttributeError, KeyError, StopIteration, TypeError, ValueError):
        return None
