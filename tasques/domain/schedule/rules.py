"""The two kinds of schedule: matching clock times in a zone, and elapsed time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from tasques.domain.instant import LATEST
from tasques.domain.schedule.time_zone import EARLIEST, Period, periods
from tasques.domain.schedule.wall_clock import WallClock

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_HORIZON: Final = timedelta(days=13 * 366)
"""How far a search goes: 29 February is eight years away at most, its next but one twelve."""


@dataclass(frozen=True, slots=True)
class ElapsedTime:
    """Every so often since an anchor, whatever clocks do."""

    interval: timedelta

    def next_after(self, at: datetime, anchor: datetime) -> datetime | None:
        """The first anchor + k * interval, k > 0, after `at`; the anchor's fraction is cut."""
        origin = anchor.replace(microsecond=0)
        steps = max(1, (at - origin) // self.interval + 1)
        if steps > (LATEST - origin) // self.interval:
            return None
        return origin + steps * self.interval


@dataclass(frozen=True, slots=True)
class ClockTimes:
    """When the clocks of a zone show a time that matches.

    Attributes:
        is_interval: the rhythm goes on while clocks change; otherwise each local time counts
            once, also if it is skipped or repeated.
    """

    clock: WallClock
    zone: ZoneInfo
    is_interval: bool

    def next_after(self, at: datetime, _anchor: datetime) -> datetime | None:
        """The first instant after `at`; None if there is none within thirteen years."""
        at = at.replace(microsecond=0)
        start, end = at + _SECOND, min(at, LATEST - _HORIZON) + _HORIZON
        while start <= end:
            local = self.clock.first_in(_naive(start - _DAY), _naive(end + _DAY))
            if local is None:
                return None
            # No zone is more than a day away from UTC: its instant is in these two days, if it
            # has one that is still to come.
            start = max(start, local.replace(tzinfo=UTC) - _DAY)
            found = self._first_between(start, min(start + 2 * _DAY, end))
            if found is not None:
                return found
            start += 2 * _DAY + _SECOND
        return None

    def _first_between(self, start: datetime, end: datetime) -> datetime | None:
        in_each = (self._first_in(period, start) for period in periods(self.zone, start, end))
        return next((found for found in in_each if found is not None), None)

    def _first_in(self, period: Period, start: datetime) -> datetime | None:
        """The first instant of a period that is not before `start`."""
        begin = period.local(max(period.start, start))
        if not self.is_interval:
            if start <= period.start and self._is_made_up_for(period):
                return period.start
            begin = max(begin, period.local_end_before)  # what repeats does not count
        found = self.clock.first_in(begin, period.local(period.end))
        return None if found is None else period.instant(found)

    def _is_made_up_for(self, period: Period) -> bool:
        """Whether a matching local time was skipped when the period began."""
        skipped_from, skipped_until = period.local_end_before, period.local(period.start)
        if skipped_from >= skipped_until:
            return False
        return self.clock.first_in(skipped_from, skipped_until) is not None


Rule: TypeAlias = ClockTimes | ElapsedTime


def to_utc(instant: datetime) -> datetime:
    """The instant in UTC, moved into the range in which zones can be reckoned with."""
    return min(max(instant, EARLIEST), LATEST).astimezone(UTC)


def _naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)
