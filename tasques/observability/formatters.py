"""How a log record becomes a line: readable text, or JSON in the Elastic Common Schema."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Final

import ecs_logging
import orjson

from tasques.observability.redaction import redact

_STANDARD: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
)
_SERVICE: Final = "tasques"
_ECS_VERSION: Final = "1.6.0"
_SHORT_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LEFT_OUT: Final = (
    "color_message",  # uvicorn's message again
    "log.original",  # the message again
    "log.origin",  # the logger tells enough, and an exception has its traceback
    "process.name",
    "process.thread",
)
_BARE: Final = re.compile(r"[^\s\"=]+")


def escape(text: str) -> str:
    r"""Show what could end a line or steer a terminal as `\n`, `\x1b` and the like."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, further fields as `key=value`.

    No value can begin a line of its own; the lines of a traceback are marked with a bar.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the line of a record."""
        parts = [
            _timestamp(record.created),
            _SHORT_LEVELS.get(record.levelname, record.levelname).ljust(5),
            record.name.removeprefix("tasques."),
            escape(record.getMessage().rstrip()),
        ]
        parts += [
            f"{escape(key)}={_show(value)}"
            for key, value in vars(record).items()
            if key not in _STANDARD and value is not None
        ]
        return redact(" ".join(parts) + self._traceback(record))

    def _traceback(self, record: logging.LogRecord) -> str:
        texts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            texts.append(record.stack_info)
        lines = [line for text in texts for line in text.split("\n")]
        return "".join(f"\n  | {escape(line)}" for line in lines)


class JsonFormatter(ecs_logging.StdlibFormatter):
    """One JSON object for machines, in the Elastic Common Schema.

    The library takes 50 µs for a record, half as long as a request takes, so records without a
    traceback are written here.
    """

    def __init__(self) -> None:
        super().__init__(
            extra={"service.name": _SERVICE},
            exclude_fields=_LEFT_OUT,
        )

    def format(self, record: logging.LogRecord) -> str:
        """Make the line of a record."""
        if record.exc_info or record.stack_info:
            return redact(super().format(record))
        fields: dict[str, object] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC),
            "log.level": record.levelname.lower(),
            "message": record.getMessage(),
            "ecs.version": _ECS_VERSION,
            "log.logger": record.name,
            "process.pid": record.process,
            "service.name": _SERVICE,
        }
        fields |= {
            name: value
            for name, value in vars(record).items()
            if name not in _STANDARD and value is not None
        }
        try:
            line = orjson.dumps(fields, default=str, option=orjson.OPT_UTC_Z).decode()
        except (TypeError, ValueError):  # lone surrogates, integers beyond 64 bits
            return redact(super().format(record))
        return redact(line)


def _timestamp(created: float) -> str:
    text = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return text[:-6] + "Z"


def _show(value: object) -> str:
    text = str(value)
    return escape(text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False))
