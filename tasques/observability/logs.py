"""Setting up the log of the process."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from tasques.observability.formatters import JsonFormatter, TextFormatter

if TYPE_CHECKING:
    from pathlib import Path

TRACE: Final = 5
LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_HANDLER: Final = "tasques"
_UNUSED: Final = ("logThreads", "logMultiprocessing", "logAsyncioTasks")
"""What `logging` looks up for each record although no line shows it; see its optimisation notes."""
_CHATTY: Final = (
    "aiohttp",
    "asyncio",
    "elastic_transport",
    "elasticsearch",
    "httpcore",
    "httpx",
    "urllib3",
)
"""Libraries that log each request, or their own doings, below warning."""
_REPEATING: Final = "elastic_transport.node_pool"
"""Warns of each failed request, which whoever made the request does as well, in our words."""


def configure(
    level: str = "info",
    format: Literal["auto", "text", "json"] = "auto",  # noqa: A002 - the word of the settings
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send all that is logged, and Python's warnings, to one place; may be called again.

    Args:
        level: one of `LEVELS`.
        format: `auto` is text on a terminal and JSON elsewhere.
        file: where to write instead of the stream; it is appended to, created with its folder if
            needed, and opened anew when it was moved away.
        stream: standard error if none is given.

    Raises:
        OSError: the file can not be written.
    """
    number = LEVELS[level]
    handler = _handler(file, stream or sys.stderr)
    text = format == "text" or (format == "auto" and file is None and handler.stream.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    handler.set_name(_HANDLER)
    logging.addLevelName(TRACE, "TRACE")
    for name in _UNUSED:
        setattr(logging, name, None)
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.get_name() == _HANDLER]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.getLogger(_REPEATING).setLevel(max(number, logging.ERROR))
    logging.getLogger("uvicorn.access").disabled = True  # the API writes a line of its own
    logging.captureWarnings(capture=True)


def _handler(file: Path | None, stream: TextIO) -> logging.StreamHandler[Any]:
    if file is None:
        return logging.StreamHandler(stream)
    file.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.WatchedFileHandler(file, encoding="utf-8")
