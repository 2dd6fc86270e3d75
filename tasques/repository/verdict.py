"""What Elasticsearch's refusals mean for us: one table for requests and for items of a bulk."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import orjson

from tasques.domain.errors import (
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    TasquesError,
    TooLargeError,
)


class Verdict(StrEnum):
    """What to do after an answer; the words tell operators why."""

    DONE = "done"
    CONFLICT = "conflict"
    TRY_AGAIN = "rejected"  # certainly not executed
    TRY_AGAIN_UNSURE = "failed"  # perhaps executed
    GIVE_UP = "refused"


def judge(status: int, error_type: str | None) -> Verdict:
    """Judge one answer by its status and the type of its error."""
    if status < 300:
        return Verdict.DONE
    if status == 409 or error_type == "document_missing_exception":
        return Verdict.CONFLICT
    if status >= 500:
        # A block answers so too while there is no master, but that passes by itself.
        return Verdict.TRY_AGAIN_UNSURE
    if status == 429 and error_type != "cluster_block_exception":
        return Verdict.TRY_AGAIN
    # Flood stage answers 429 too, but stays until somebody makes room.
    return Verdict.GIVE_UP


def error_of(body: dict[str, Any]) -> tuple[str | None, str]:
    """Type and reason of an error object, whatever its form."""
    error = body.get("error")
    if isinstance(error, dict):
        return error.get("type"), str(error.get("reason") or error)
    return None, str(error)


def read_error(body: bytes) -> tuple[str | None, str]:
    """Type and reason of a request's refusal; a proxy between us may say it in its own way."""
    try:
        return error_of(orjson.loads(body))
    except (orjson.JSONDecodeError, AttributeError):
        return None, body[:500].decode(errors="replace")


def read_results(body: bytes, count: int) -> tuple[list[dict[str, Any]], bool] | None:
    """The results of a bulk answer to `count` operations, and whether there are errors among them.

    None if it is no such answer.
    """
    try:
        answer = orjson.loads(body)
        results = [result for item in answer["items"] for result in item.values()]
        has_errors = answer["errors"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return (results, has_errors) if len(results) == count else None


def final_error(status: int, error_type: str | None) -> TasquesError:
    """The error to raise for an answer that is final."""
    if error_type == "cluster_block_exception":
        return StoreBlockedError("Elasticsearch refuses writes for now: an index is blocked.")
    if status == 413:
        return TooLargeError("The task is too large for Elasticsearch.")
    if status in (401, 403, 404):
        return StoreUnavailableError(
            "Elasticsearch can not be used as it is set up: see the server's log."
        )
    return StoreRejectedError(f"Elasticsearch refused the request ({status}).")
