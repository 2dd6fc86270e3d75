"""The local times that match an expression; time zones do not matter here.

Values are sets of bits, so that the next one is found by shifting. Years are searched month by
month: a date that is years away, or never comes, costs a few hundred steps.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

_WEEKS: Final = sum(1 << 7 * week for week in range(6))
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WallClock:
    """A pattern of local times, to the second. Each set has bit n for the value n.

    Attributes:
        weekdays: 0 is Sunday.
        either_day: a day matches by its date or by its weekday; otherwise both must match.
    """

    seconds: int
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    either_day: bool

    def first_in(self, start: datetime, end: datetime) -> datetime | None:
        """The first match in [start, end), both naive and of whole seconds."""
        if not (self.seconds and self.minutes and self.hours):
            return None
        day = self._first_date(start.date(), end.date())
        clock = self._first_time(start.time() if day == start.date() else time())
        if day is not None and clock is None:
            day = self._first_date(day + _DAY, end.date())
            clock = self._first_time(time())
        if day is None or clock is None:
            return None
        found = datetime.combine(day, clock)
        return found if found < end else None

    def _first_date(self, start: date, last: date) -> date | None:
        year, month, day = start.year, start.month, start.day
        while (year, month) <= (last.year, last.month):
            found = _lowest(self._days_of(year, month), day)
            if found is not None:
                return date(year, month, found)
            year, month, day = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        return None

    def _days_of(self, year: int, month: int) -> int:
        if not self.months >> month & 1:
            return 0
        first_weekday, length = calendar.monthrange(year, month)  # 0 is Monday
        by_weekday = self.weekdays * _WEEKS >> (first_weekday + 1) % 7 << 1
        days = self.days | by_weekday if self.either_day else self.days & by_weekday
        return days & (2 << length) - 2

    def _first_time(self, start: time) -> time | None:
        second = _lowest(self.seconds, start.second)
        minute = _lowest(self.minutes, start.minute + (second is None))
        hour = _lowest(self.hours, start.hour + (minute is None))
        if hour is None:
            return None
        if minute is None or hour > start.hour:
            return time(hour, _first(self.minutes), _first(self.seconds))
        if second is None or minute > start.minute:
            return time(hour, minute, _first(self.seconds))
        return time(hour, minute, second)


def _lowest(bits: int, start: int) -> int | None:
    """The lowest member that is at least `start`."""
    rest = bits >> start
    return start + _first(rest) if rest else None


def _first(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
