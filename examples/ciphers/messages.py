"""Messages and what became of them, in an index of Elasticsearch."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, Final

from elasticsearch import BadRequestError, Elasticsearch

INDEX: Final = "messages_and_their_ciphers"

_MOST_SHOWN: Final = 100
_CONFLICT_RETRIES: Final = 100  # four workers may write to one message at once
_INSTANT: Final = {"type": "date"}
_TEXT: Final = {"type": "text", "index": False}
_SETTINGS: Final = {"auto_expand_replicas": "0-1", "refresh_interval": "200ms"}
_FIELDS: Final = {
    "created_at": _INSTANT,
    "modified_at": _INSTANT,
    **dict.fromkeys(("plain", "rot_1", "rot_13", "base_64", "md_5"), _TEXT),
}

Message = dict[str, Any]
"""`id`, `plain`, `created_at`, `modified_at`, and the results that are there already."""


class Messages:
    """All messages; its methods raise what Elasticsearch's client raises."""

    def __init__(self, elasticsearch: Elasticsearch) -> None:
        self._elasticsearch = elasticsearch

    def prepare(self) -> None:
        """Make the index unless it is there."""
        try:
            self._elasticsearch.indices.create(
                index=INDEX, settings=_SETTINGS, mappings={"properties": _FIELDS}
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise

    def add(self, plain: str) -> str:
        """Store a message; returns its id."""
        message_id = secrets.token_hex(16)
        now = _now()
        document = {"plain": plain, "created_at": now, "modified_at": now}
        self._elasticsearch.create(index=INDEX, id=message_id, document=document)
        return message_id

    def plain(self, message_id: str) -> str:
        """What was typed in.

        Raises:
            NotFoundError: there is no such message.
        """
        return str(self._elasticsearch.get(index=INDEX, id=message_id)["_source"]["plain"])

    def write(self, message_id: str, field: str, ciphered: str) -> None:
        """Add a result. May be repeated.

        Raises:
            NotFoundError: there is no such message.
        """
        self._elasticsearch.update(
            index=INDEX,
            id=message_id,
            doc={field: ciphered, "modified_at": _now()},
            retry_on_conflict=_CONFLICT_RETRIES,
        )

    def latest(self) -> list[Message]:
        """The newest messages, the newest first; a fifth of a second behind."""
        found = self._elasticsearch.search(
            index=INDEX, size=_MOST_SHOWN, sort=[{"created_at": "desc"}]
        )
        return [{"id": hit["_id"]} | hit["_source"] for hit in found["hits"]["hits"]]


def _now() -> str:
    return datetime.now(UTC).isoformat()
