"""Reading one task of the archive."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tasques.domain.errors import StoreUnavailableError, TasquesError
from tasques.domain.task import Version
from tasques.repository.asking import ask
from tasques.repository.connection import Connection
from tasques.repository.queries import newest
from tasques.repository.reads import Found

# An index that an operator has closed is as good as deleted.
_TARGET: Final = "/_search?allow_partial_search_results=false&ignore_unavailable=true"


async def find_archived(
    connection: Connection,
    alias: str,
    queue: str,
    task_id: str,
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it
) -> Found | None:
    """The archived task of that id, the newest of several, or None.

    A search, because an id has to be looked for in all indices of the archive. It sees every task
    that was taken away from the active ones: the archive is refreshed before that.

    Raises:
        StoreUnavailableError: the whole archive can not be searched now.
    """
    target = f"/{quote(alias)}{_TARGET}"
    try:
        content = await ask(connection, "POST", target, newest(queue, task_id), timeout=timeout)
    except TasquesError as error:
        raise StoreUnavailableError("The archive can not be searched now.") from error
    if not content["_shards"]["total"]:
        raise StoreUnavailableError("The archive is missing: run `tasques setup`.")
    for hit in content["hits"]["hits"]:
        return Found(hit["_source"], Version(hit["_seq_no"], hit["_primary_term"]))
    return None
