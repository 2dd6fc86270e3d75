"""The leader's lease in Elasticsearch. Implements `tasques.domain.ports.LeaderLock`.

One document, made once and never deleted: whoever takes the lead replaces what is there, on the
condition that it has not changed. It does not go through the bulk writer, where it would have to
wait behind tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import orjson

from tasques.domain.errors import CorruptDocumentError, StoreUnavailableError
from tasques.domain.instant import InvalidInstantError, format_instant, parse_instant
from tasques.domain.lease import Lease, Server
from tasques.domain.task import Version
from tasques.repository.connection import Answer, Connection, NoAnswerError
from tasques.repository.verdict import Verdict, judge, read_error

DOCUMENT_ID: Final = "leader"

_MICROSECOND: Final = timedelta(microseconds=1)


class ElasticsearchLeaderLock:
    """Keeps the lease in the index behind one alias."""

    def __init__(self, *, alias: str, connection: Connection, request_timeout: float) -> None:
        """Make a lock.

        Args:
            alias: of the index.
            connection: to Elasticsearch.
            request_timeout: seconds for one request; well below the lease, so that a leader
                can try again while it is still trusted.
        """
        self._alias = alias
        self._connection = connection
        self._timeout = request_timeout

    async def read(self) -> Lease | None:
        """The lease as it is now. See the port."""
        answer = await self._ask("GET", f"/{self._alias}/_doc/{DOCUMENT_ID}")
        content = _content(answer)
        if answer.status == 200:
            return _lease(content)
        if answer.status == 404 and content.get("found") is False:  # the index is there
            return None
        raise _refusal(answer)

    async def write(self, lease: Lease) -> Lease | None:
        """Store a lease on the condition that nothing has changed. See the port."""
        answer = await self._ask("PUT", self._target(lease.version), orjson.dumps(_document(lease)))
        content = _content(answer)
        verdict = judge(answer.status, read_error(answer.body)[0])
        if verdict is Verdict.DONE:
            return replace(lease, version=_version(content))
        if verdict is Verdict.CONFLICT:
            # Perhaps with itself: Elasticsearch repeats a write when a primary shard is lost.
            return await self.read()
        raise _refusal(answer)

    def _target(self, version: Version | None) -> str:
        common = f"require_alias=true&timeout={max(1, int(self._timeout * 1000))}ms"
        if version is None:
            return f"/{self._alias}/_create/{DOCUMENT_ID}?{common}"
        return (
            f"/{self._alias}/_doc/{DOCUMENT_ID}?if_seq_no={version.seq_no}"
            f"&if_primary_term={version.primary_term}&{common}"
        )

    async def _ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        try:
            return await self._connection.request(method, target, body, timeout=self._timeout)
        except NoAnswerError as error:
            raise StoreUnavailableError(f"Elasticsearch does not answer ({error}).") from error


def _refusal(answer: Answer) -> StoreUnavailableError:
    reason = read_error(answer.body)[1]
    return StoreUnavailableError(f"Elasticsearch refuses ({answer.status}): {reason}")


def _content(answer: Answer) -> dict[str, Any]:
    """What was answered, if Elasticsearch did and not a proxy before it."""
    try:
        content = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise _refusal(answer)
    return content


def _version(content: Mapping[str, Any]) -> Version:
    return Version(content["_seq_no"], content["_primary_term"])


def _document(lease: Lease) -> dict[str, object]:
    return {
        "leader_id": lease.leader.id,
        "host": lease.leader.host,
        "pid": lease.leader.pid,
        "term": lease.term,
        "since": format_instant(lease.since),
        "write": lease.write,
        "at": format_instant(lease.written_at),
        "leader_lock_lease": lease.duration // _MICROSECOND * 1000,
        "is_resigned": lease.is_resigned,
    }


def _lease(found: Mapping[str, Any]) -> Lease:
    source = found["_source"]
    try:
        duration = int(source["leader_lock_lease"]) // 1000 * _MICROSECOND
        if duration <= timedelta(0):  # everybody would take the lead from everybody
            raise ValueError("leader_lock_lease is not positive")  # noqa: TRY301 - see below
        return Lease(
            leader=Server(str(source["leader_id"]), str(source["host"]), int(source["pid"])),
            term=int(source["term"]),
            since=parse_instant(source["since"]),
            write=int(source["write"]),
            written_at=parse_instant(source["at"]),
            duration=duration,
            is_resigned=bool(source["is_resigned"]),
            version=_version(found),
        )
    except (InvalidInstantError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptDocumentError(DOCUMENT_ID, f"{type(error).__name__}: {error}") from error
