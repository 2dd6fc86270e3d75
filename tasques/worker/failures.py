"""What is stored of an exception."""

from __future__ import annotations

import traceback
from typing import Any, Final

_MOST_OF_MESSAGE: Final = 2_000
_MOST_OF_TRACEBACK: Final = 8_000  # characters; the ends tell most
_CUT: Final = "\n...\n"


def failure_of(error: BaseException) -> dict[str, Any]:
    """The type, the message and the traceback of an exception, trimmed."""
    kind = type(error)
    name = kind.__qualname__
    text = "".join(traceback.format_exception(error))
    return {
        "type": name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}",
        "message": _trimmed(str(error), _MOST_OF_MESSAGE),
        "traceback": _trimmed(text, _MOST_OF_TRACEBACK),
    }


def _trimmed(text: str, most: int) -> str:
    text = text.encode("utf-8", "replace").decode()  # no halves of characters, which nobody takes
    if len(text) <= most:
        return text
    half = (most - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]
