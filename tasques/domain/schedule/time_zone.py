"""Time zones: safe loading by name, and the periods between the changes of their clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from tasques.domain.schedule.errors import InvalidScheduleError, shown

EARLIEST: Final = datetime(1, 1, 3, tzinfo=UTC)
"""Local times of earlier instants may lie before the year 1."""

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_LONGEST_NAME: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")  # no dot: no path out of it
# In the database's folders, but no zone, of another time scale, or of this very machine.
_NO_ZONES: Final = re.compile(r"(?:Factory|localtime|posixrules)|(?:posix|right)/.*")


def load_time_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name, from the system's database or else the tzdata package.

    Raises:
        InvalidScheduleError: there is none.
    """
    if not name:
        raise InvalidScheduleError("the time zone must not be empty")
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) and not _NO_ZONES.fullmatch(name):
        try:
            return _load(name)
        except (OSError, ValueError, KeyError):  # a folder, another file, nothing
            pass
    raise InvalidScheduleError(
        f"there is no time zone {shown(name)}: use an IANA name such as 'Europe/Berlin'"
    )


@lru_cache(maxsize=1024)
def _load(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Period:
    """The instants from `start` until before `end`, in which the UTC offset stays the same.

    `offset_before` is the one of the period before: if it is less, local times were skipped at
    the start; if it is more, they repeat.
    """

    start: datetime
    end: datetime
    offset_before: timedelta
    offset: timedelta

    def local(self, instant: datetime) -> datetime:
        """What local clocks show then, without a zone."""
        return (instant + self.offset).replace(tzinfo=None)

    def instant(self, local: datetime) -> datetime:
        """When local clocks of this period show that."""
        return (local - self.offset).replace(tzinfo=UTC)

    @property
    def local_end_before(self) -> datetime:
        """What the clocks of the period before would show at the start of this one."""
        return (self.start + self.offset_before).replace(tzinfo=None)


def periods(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Period]:
    """The periods that cover [start, end], both in UTC, whole seconds and no later than LATEST.

    The first begins before `start`: at its real begin if that is less than two days ago, which
    suffices because no clock was ever put back by more than a day.
    """
    begin = max(start - 2 * _DAY, EARLIEST)
    before = offset = _offset(zone, begin)
    for change in _changes(zone, begin, end):
        if change > start:
            yield Period(begin, change, before, offset)
        begin, before, offset = change, offset, _offset(zone, change)
    yield Period(begin, end + _SECOND, before, offset)


def _changes(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] from which another UTC offset holds.

    One look a day finds them all: the database has no two changes within three days.
    """
    while after < until:
        then = min(after + _DAY, until)
        if _offset(zone, then) != _offset(zone, after):
            yield _change_between(zone, after, then)
        after = then


def _change_between(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second of the new offset, by bisection."""
    offset = _offset(zone, before)
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)
