"""The text form of durations: `30m`, `1h30m`, `1.5s`, `100ms`, as Go writes them.

A text is an optional sign and then one or more decimal numbers, each with its unit, without
blanks; only zero needs no unit. See the Go documentation of `time.ParseDuration`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Final

from tasques.domain.errors import InvalidRequestError

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = re.compile(
    r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
)
_LONGEST_TEXT: Final = 128
_MAX_NANOSECONDS: Final = 2**63 - 1
_MICROSECOND: Final = timedelta(microseconds=1)


class InvalidDurationError(InvalidRequestError):
    """The text is no duration."""

    code = "invalid_duration"

    def __init__(self, text: str) -> None:
        shown = text if len(text) <= 40 else text[:40] + "..."
        super().__init__(f"{shown!r} is not a duration such as '30s', '5m' or '1h30m'")


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """Read a duration.

    Parts of a microsecond are cut, but a duration that is not zero stays so.

    Raises:
        InvalidDurationError: it is none, or longer than about 292 years.
    """
    unsigned = text[1:] if text[:1] in {"+", "-"} else text
    if unsigned == "0":
        return timedelta(0)
    if not unsigned or len(text) > _LONGEST_TEXT:
        raise InvalidDurationError(text)
    nanoseconds = 0
    position = 0
    while position < len(unsigned):
        part = _PART.match(unsigned, position)
        if part is None or not (part["whole"] or part["fraction"]):
            raise InvalidDurationError(text)
        nanoseconds += _part_nanoseconds(part)
        position = part.end()
    if nanoseconds > _MAX_NANOSECONDS:
        raise InvalidDurationError(text)
    microseconds = nanoseconds // 1000 or min(nanoseconds, 1)
    return timedelta(microseconds=-microseconds if text[0] == "-" else microseconds)


def _part_nanoseconds(part: re.Match[str]) -> int:
    unit = _NANOSECONDS[part["unit"]]
    fraction = part["fraction"] or ""
    whole = int(part["whole"] or 0) * unit
    return whole + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


@lru_cache(maxsize=1024)
def format_duration(duration: timedelta) -> str:
    """Write a duration: `1h30m0s`, `1m30s`, `100ms`, `0s`."""
    microseconds = duration // _MICROSECOND
    sign = "-" if microseconds < 0 else ""
    microseconds = abs(microseconds)
    if microseconds == 0:
        return "0s"
    if microseconds < 1000:
        return f"{sign}{microseconds}\u00b5s"
    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 3)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 6)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, digits: int) -> str:
    """`value` / 10**digits, without trailing zeros."""
    whole, fraction = divmod(value, 10**digits)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).zfill(digits).rstrip('0')}"
