"""Which trace a request belongs to: W3C Trace Context."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

from tasques.api.headers import Headers, find_header
from tasques.observability.tracing import Transaction

TRACEPARENT: Final = "traceparent"
TRANSACTION: Final = "tasques.transaction"
"""The key in a scope under which whoever traces requests puts what this one is."""

_HEADER: Final = TRACEPARENT.encode()
_VALID: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def read_traceparent(headers: Headers) -> str | None:
    """The caller's place in its trace; None without one, also if it is malformed."""
    value = find_header(headers, _HEADER)
    return value.decode() if value is not None and _VALID.fullmatch(value) else None


def read_trace_id(headers: Headers) -> str | None:
    """The id of the caller's trace; None as above."""
    value = find_header(headers, _HEADER)
    return match[1].decode() if value is not None and (match := _VALID.fullmatch(value)) else None


def traceparent_of(scope: Scope) -> str | None:
    """What a request hands on: itself where it is traced, else its caller."""
    transaction: Transaction | None = scope.get(TRANSACTION)
    if transaction is not None:
        return transaction.traceparent
    return read_traceparent(scope["headers"])
