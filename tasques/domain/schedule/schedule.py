"""A schedule: an expression that has been read, and can be asked for its instants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile

from tasques.domain.schedule.parsing import parse_rule, split_time_zone
from tasques.domain.schedule.rules import Rule, to_utc
from tasques.domain.schedule.time_zone import load_time_zone


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a recurring task is enqueued.

    All instants are aware; those returned are in UTC and of whole seconds. `anchor` is what
    `@every` counts from, the instant asked about if it is not given; nothing else depends on it.

    Attributes:
        expression: the text as it was given.
        time_zone: the IANA name of the zone in force.
    """

    expression: str
    time_zone: str
    _rule: Rule = field(repr=False)

    @classmethod
    def parse(cls, expression: str, *, time_zone: str | None = None) -> Schedule:
        """Read an expression.

        A zone within the expression goes before `time_zone`, so that texts written for programs
        which know only the prefix keep their meaning; but `time_zone` must exist all the same.

        Raises:
            InvalidScheduleError: it is none, or a time zone does not exist.
        """
        prefix, text = split_time_zone(expression)
        if time_zone is not None:
            load_time_zone(time_zone)
        name = prefix if prefix is not None else time_zone if time_zone is not None else "UTC"
        return cls(expression, name, parse_rule(text, name))

    def next_after(self, at: datetime, *, anchor: datetime | None = None) -> datetime | None:
        """The first instant after `at`, or None if there is none for the next thirteen years."""
        at = to_utc(at)
        return self._rule.next_after(at, at if anchor is None else to_utc(anchor))

    def between(
        self, after: datetime, until: datetime, *, limit: int, anchor: datetime | None = None
    ) -> list[datetime]:
        """The instants after `after` and not after `until`, the first `limit` of them."""
        instants = takewhile(lambda instant: instant <= until, self._instants(after, anchor))
        return list(islice(instants, limit))

    def upcoming(
        self, after: datetime, count: int, *, anchor: datetime | None = None
    ) -> list[datetime]:
        """The next `count` instants; fewer if there are no more."""
        return list(islice(self._instants(after, anchor), count))

    def _instants(self, after: datetime, anchor: datetime | None) -> Iterator[datetime]:
        anchor = after if anchor is None else anchor
        instant = self.next_after(after, anchor=anchor)
        while instant is not None:
            yield instant
            instant = self.next_after(instant, anchor=anchor)
