"""The text form of instants: RFC 3339, with a zone, to the microsecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from tasques.domain.errors import InvalidRequestError

_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)
"""What a Go client sends for an instant that was never set."""

LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""No instant that Tasques computes is later: every client and every time zone can show it."""


class InvalidInstantError(InvalidRequestError):
    """The text is no instant."""

    code = "invalid_instant"

    def __init__(self, text: str) -> None:
        shown = text if len(text) <= 40 else text[:40] + "..."
        super().__init__(f"{shown!r} is not an RFC 3339 instant such as '2030-01-31T08:00:00Z'")


def parse_instant(text: str) -> datetime:
    """Read an instant; it keeps its offset from UTC. Digits after the sixth are cut.

    Raises:
        InvalidInstantError: it is none, or no date that exists.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidInstantError(text)
    seconds, fraction, zone = form.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone}")
    except ValueError as error:
        raise InvalidInstantError(text) from error


def format_instant(instant: datetime) -> str:
    """Write an instant as RFC 3339, UTC as `Z`, without trailing zeros in the fraction."""
    text = instant.isoformat()
    if text[-6:] == "+00:00":
        text = text[:-6]
        zone = "Z"
    else:
        text, zone = text[:-6], text[-6:]
    return (text.rstrip("0") if "." in text else text) + zone


def to_milliseconds(instant: datetime) -> int:
    """Whole milliseconds since 1970, negative before."""
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
