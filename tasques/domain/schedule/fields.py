"""One field of an expression, such as `*/5` or `MON-FRI,SUN`, as the set of its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tasques.domain.schedule.errors import InvalidScheduleError, shown

_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_ITEM: Final = re.compile(
    r"(?:(?P<star>[*?])|(?P<first>[0-9]+|[A-Za-z]+)(?:-(?P<last>[0-9]+|[A-Za-z]+))?)"
    r"(?:/(?P<step>[0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class Field:
    """What a field means: its name in messages, its range, and the words for its values."""

    name: str
    lowest: int
    highest: int
    words: Mapping[str, int] = field(default_factory=dict)


SECOND: Final = Field("second", 0, 59)
MINUTE: Final = Field("minute", 0, 59)
HOUR: Final = Field("hour", 0, 23)
DAY: Final = Field("day of month", 1, 31)
MONTH: Final = Field("month", 1, 12, {word: value for value, word in enumerate(_MONTHS, 1)})
WEEKDAY: Final = Field("day of week", 0, 6, {word: value for value, word in enumerate(_WEEKDAYS)})


@dataclass(frozen=True, slots=True)
class Values:
    """The values that a field allows.

    Attributes:
        bits: bit n is set if n is allowed.
        every: an item is a star without a step, or with the step 1.
        starred: an item begins with a star, whatever its step.
    """

    bits: int
    every: bool = False
    starred: bool = False

    def __or__(self, other: Values) -> Values:
        return Values(
            self.bits | other.bits, self.every or other.every, self.starred or other.starred
        )


def parse_field(what: Field, text: str) -> Values:
    """Read a field: items with commas between them; empty items mean nothing.

    Raises:
        InvalidScheduleError: an item is none, or outside the field's range.
    """
    values = Values(0)
    for item in filter(None, text.split(",")):
        values |= _parse_item(what, item)
    return values


def _parse_item(what: Field, text: str) -> Values:
    item = _ITEM.fullmatch(text)
    if item is None:
        raise InvalidScheduleError(
            f"{what.name}: {shown(text)} is none of '*', a value, a range such as '1-5', "
            "or one of these with a step such as '*/5'"
        )
    step = int(item["step"] or 1)
    if step == 0:
        raise InvalidScheduleError(f"{what.name}: the step of {shown(text)} must not be zero")
    first, last = _ends(what, item)
    if first > last:
        raise InvalidScheduleError(f"{what.name}: the range {shown(text)} ends before it begins")
    bits = sum(1 << value for value in range(first, last + 1, step))
    starred = item["star"] is not None
    return Values(bits, every=starred and step == 1, starred=starred)


def _ends(what: Field, item: re.Match[str]) -> tuple[int, int]:
    if item["star"]:
        return what.lowest, what.highest
    first = _value(what, item["first"])
    if item["last"]:
        return first, _value(what, item["last"])
    return first, what.highest if item["step"] else first


def _value(what: Field, text: str) -> int:
    if text.isdigit():
        value = int(text)
        if not what.lowest <= value <= what.highest:
            raise InvalidScheduleError(
                f"{what.name}: {shown(text)} is not between {what.lowest} and {what.highest}"
            )
        return value
    if text.lower() not in what.words:
        known = f"one of {', '.join(what.words)}" if what.words else "a number"
        raise InvalidScheduleError(f"{what.name}: {shown(text)} is not {known}")
    return what.words[text.lower()]
