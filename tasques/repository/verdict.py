"""What Elasticsearch's refusals mean for us: one table for requests and for items of a bulk."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import Any

from tasques.domain.errors import (
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    TasquesError,
    TooLargeError,
)

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What to do after an answer."""

    DONE = auto()
    CONFLICT = auto()
    TRY_AGAIN = auto()  # certainly not executed
    TRY_AGAIN_UNSURE = auto()  # perhaps executed
    GIVE_UP = auto()


def judge(status: int, error_type: str | None) -> Verdict:
    """Judge one answer by its status and the type of its error."""
    if status < 300:
        return Verdict.DONE
    if status == 409:
        return Verdict.CONFLICT
    if error_type == "cluster_block_exception":
        # Flood stage answers 429 too, but does not pass by itself.
        return Verdict.GIVE_UP
    if status == 429:
        return Verdict.TRY_AGAIN
    return Verdict.TRY_AGAIN_UNSURE if status >= 500 else Verdict.GIVE_UP


def error_of(body: dict[str, Any]) -> tuple[str | None, str]:
    """Type and reason of an error object, whatever its form."""
    error = body.get("error")
    if isinstance(error, dict):
        return error.get("type"), str(error.get("reason") or error)
    return None, str(error)


def final_error(status: int, error_type: str | None, reason: str) -> TasquesError:
    """The error to raise for an answer that is final; what Elasticsearch said goes to the log."""
    log.error(
        "Elasticsearch refused a request",
        extra={"status": status, "error_type": error_type, "reason": reason},
    )
    if error_type == "cluster_block_exception":
        return StoreBlockedError("Elasticsearch refuses writes for now: an index is blocked.")
    if status == 413:
        return TooLargeError("The task is too large for Elasticsearch.")
    if status in (401, 403, 404):
        return StoreUnavailableError(
            "Elasticsearch can not be used as it is set up: see the server's log."
        )
    return StoreRejectedError(f"Elasticsearch refused the request ({status}).")
