"""Requests to Elasticsearch that are sent once, for whoever can ask again later."""

from __future__ import annotations

from typing import Any

import orjson

from tasques.domain.errors import StoreUnavailableError, TasquesError
from tasques.repository.connection import Answer, Connection, NoAnswerError
from tasques.repository.verdict import final_error, read_error


async def send(
    connection: Connection,
    method: str,
    target: str,
    body: bytes | None = None,
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it
    **content_type: str,
) -> Answer:
    """Send a request, whatever the answer is. Takes what `Connection.request` takes.

    Raises:
        StoreUnavailableError: there is no answer.
    """
    try:
        return await connection.request(method, target, body, timeout=timeout, **content_type)
    except NoAnswerError as error:
        raise StoreUnavailableError("Elasticsearch does not answer.") from error


async def ask(
    connection: Connection,
    method: str,
    target: str,
    body: object = None,
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it
) -> dict[str, Any]:
    """Send a request, with `body` as JSON if there is one, and read the answer.

    Raises:
        UnavailableError: there is no answer, or Elasticsearch does not take the request now.
        StoreRejectedError: it never will; like all messages here, it has Elasticsearch's reason.
    """
    content = None if body is None else orjson.dumps(body)
    return read(await send(connection, method, target, content, timeout=timeout))


def read(answer: Answer) -> dict[str, Any]:
    """The content of an answer. Raises as `ask`."""
    if answer.status != 200:
        raise explained(answer.status, *read_error(answer.body))
    content: dict[str, Any] = orjson.loads(answer.body)
    return content


def explained(status: int, error_type: str | None, reason: str) -> TasquesError:
    """The error of a refusal, with Elasticsearch's reason: for logs rather than for clients."""
    text = f"Elasticsearch answers {status}, {error_type}: {reason}"
    if (status == 429 and error_type != "cluster_block_exception") or status >= 500:
        return StoreUnavailableError(text)
    return type(final_error(status, error_type))(text)
