"""Reading of expressions."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tasques.domain.duration import InvalidDurationError, parse_duration
from tasques.domain.schedule.errors import InvalidScheduleError, shown
from tasques.domain.schedule.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    parse_field,
)
from tasques.domain.schedule.rules import ClockTimes, ElapsedTime, Rule
from tasques.domain.schedule.time_zone import load_time_zone
from tasques.domain.schedule.wall_clock import WallClock

LONGEST_EXPRESSION: Final = 1024
"""Characters: more than any sensible expression has, even one that lists every value."""

_SECOND: Final = timedelta(seconds=1)
_FIELDS: Final = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_EVERY: Final = "@every "
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def split_time_zone(expression: str) -> tuple[str | None, str]:
    """Take the zone's name off the front of an expression; None if it has none.

    Raises:
        InvalidScheduleError: it is empty or too long, or nothing follows the zone.
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise InvalidScheduleError(
            f"must not have more than {LONGEST_EXPRESSION} characters, has {len(expression)}"
        )
    if not expression.strip():
        raise InvalidScheduleError("must not be empty")
    if not expression.startswith(("TZ=", "CRON_TZ=")):
        return None, expression
    prefix, *rest = expression.split(maxsplit=1)
    if not rest:
        raise InvalidScheduleError(
            "a schedule must follow the time zone, such as in 'TZ=Europe/Berlin 0 8 * * *'"
        )
    return prefix.partition("=")[2], rest[0].strip()


def parse_rule(text: str, time_zone: str) -> Rule:
    """Read an expression that has no time zone any more.

    Raises:
        InvalidScheduleError: it is none, or the zone does not exist.
    """
    zone = load_time_zone(time_zone)
    if text.startswith(_EVERY):
        return ElapsedTime(_parse_interval(text.removeprefix(_EVERY)))
    if text in _MACROS:
        return _parse_fields(_MACROS[text], zone)
    if text.lstrip().startswith("@"):
        known = ", ".join(_MACROS)
        raise InvalidScheduleError(
            f"{shown(text)} is none of {known} or '@every' with one blank and a duration"
        )
    return _parse_fields(text, zone)


def _parse_interval(text: str) -> timedelta:
    try:
        interval = parse_duration(text)
    except InvalidDurationError as error:
        raise InvalidScheduleError(*(f"@every: {problem}" for problem in error.problems)) from error
    if interval < _SECOND:
        raise InvalidScheduleError(f"@every: {shown(text)} is less than one second")
    return interval // _SECOND * _SECOND


def _parse_fields(expression: str, zone: ZoneInfo) -> ClockTimes:
    texts = expression.split()
    if len(texts) not in {5, 6}:
        raise InvalidScheduleError(
            "must have five fields (minute, hour, day of month, month, day of week) or six "
            f"(with leading seconds), has {len(texts)}"
        )
    if len(texts) == 5:
        texts.insert(0, "0")
    values = [parse_field(what, text) for what, text in zip(_FIELDS, texts, strict=True)]
    second, minute, hour, day, month, weekday = values
    clock = WallClock(
        seconds=second.bits,
        minutes=minute.bits,
        hours=hour.bits,
        days=day.bits,
        months=month.bits,
        weekdays=weekday.bits,
        either_day=not (day.every or weekday.every),
    )
    return ClockTimes(clock, zone, is_interval=second.starred or minute.starred or hour.starred)
