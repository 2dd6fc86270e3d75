"""The trace that a request belongs to, where the program traces at all.

Nothing is imported for it that the program has not imported itself.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import httpcore

_TRACE_PARENT: Final = "traceparent"


def trace_headers(otherwise: str | None = None) -> dict[str, str]:
    """The headers that tell the server which trace a request is part of; none without a trace.

    `otherwise` is its place in a trace, as `traceparent` has it, if the program is in none.
    """
    headers: dict[str, str] = {}
    if (propagate := sys.modules.get("opentelemetry.propagate")) is not None:
        propagate.inject(headers)
    apm = sys.modules.get("elasticapm")
    if _TRACE_PARENT not in headers and apm is not None:
        parent = apm_traceparent(apm)
        if parent is not None and _is_instrumented():
            return headers
        otherwise = parent or otherwise
    if _TRACE_PARENT not in headers and otherwise is not None:
        headers[_TRACE_PARENT] = otherwise
    return headers


def apm_traceparent(apm: Any) -> str | None:
    """Where the program is, as its agent of Elastic APM has it; None if it is in no transaction."""
    header = apm.get_trace_parent_header()
    if header is None:
        return None
    here = apm.get_span_id() or apm.get_transaction_id()
    version, trace_id, _, flags = header.split("-")  # the third is whoever called the program
    return f"{version}-{trace_id}-{here}-{flags}"


def _is_instrumented() -> bool:
    """Whether the agent adds the header itself, further down: there must not be two."""
    return hasattr(httpcore.HTTPConnection.handle_request, "__wrapped__")
