"""Request headers as ASGI gives them: pairs of bytes, names in lower case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tasques.domain.names import check_worker_id

WORKER_ID: Final = "X-TASQUES-WORKER-ID"
_WORKER_ID_BYTES: Final = WORKER_ID.lower().encode()

Headers = Iterable[tuple[bytes, bytes]]


def find_header(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first header of that name, which must be in lower case."""
    for found, value in headers:
        if found == name:
            return value
    return None


def read_worker_id(headers: Headers) -> str:
    """Who the worker says it is.

    Raises:
        InvalidRequestError: it does not say, or at too great a length.
    """
    value = find_header(headers, _WORKER_ID_BYTES) or b""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return check_worker_id(text.strip(), WORKER_ID)
