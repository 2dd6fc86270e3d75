"""The trace that a request belongs to, where the program traces at all.

Nothing is imported for it that the program has not imported itself.
"""

from __future__ import annotations

import sys
from typing import Final

import httpcore

_TRACE_PARENT: Final = "traceparent"


def trace_headers() -> dict[str, str]:
    """The headers that tell the server which trace a request is part of; none without a trace."""
    headers: dict[str, str] = {}
    if (propagate := sys.modules.get("opentelemetry.propagate")) is not None:
        propagate.inject(headers)
    apm = sys.modules.get("elasticapm")
    if _TRACE_PARENT not in headers and apm is not None and not _is_instrumented():
        parent = apm.get_trace_parent_header()
        if parent is not None:
            headers[_TRACE_PARENT] = parent
    return headers


def _is_instrumented() -> bool:
    """Whether the agent adds the header itself, further down: there must not be two."""
    return hasattr(httpcore.HTTPConnection.handle_request, "__wrapped__")
