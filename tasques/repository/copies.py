"""Where in the archive tasks are: by real-time reads, index by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasques.domain.errors import StoreUnavailableError, TasquesError
from tasques.domain.task import Version
from tasques.repository.asking import ask
from tasques.repository.connection import Connection
from tasques.repository.verdict import error_of

_TARGET: Final = "/_mget?_source=false"
_MAX_PLACES: Final = 1000  # in one request


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document may be."""

    index: str
    document_id: str


async def look_up(
    connection: Connection,
    places: Sequence[Place],
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it, for each request
) -> dict[Place, Version | TasquesError | None]:
    """Look into each place.

    Returns:
        For each place the version of what is there, None for nothing, or why that can not be told.

    Raises:
        UnavailableError: Elasticsearch does not answer, or not now.
    """
    found: dict[Place, Version | TasquesError | None] = {}
    for start in range(0, len(places), _MAX_PLACES):
        some = places[start : start + _MAX_PLACES]
        wanted = [{"_index": place.index, "_id": place.document_id} for place in some]
        answer = await ask(connection, "POST", _TARGET, {"docs": wanted}, timeout=timeout)
        documents = answer["docs"]
        found |= {place: _judge(it) for place, it in zip(some, documents, strict=True)}
    return found


def _judge(document: dict[str, Any]) -> Version | TasquesError | None:
    if "error" in document:
        reason = error_of(document)[1]
        return StoreUnavailableError(f"{document['_index']} can not be read: {reason}")
    if not document["found"]:
        return None
    return Version(document["_seq_no"], document["_primary_term"])
