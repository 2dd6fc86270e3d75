"""The search, against a matcher that looks at every minute or second on its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasques.domain.schedule import InvalidScheduleError, Schedule

MINUTE: Final = timedelta(minutes=1)
SECOND: Final = timedelta(seconds=1)
ENOUGH: Final = 10_000
MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - readable
WEEKDAYS: Final = "SUN MON TUE WED THU FRI SAT".split()  # noqa: SIM905 - readable
CHANGES: Final = [
    ("Europe/Berlin", "2026-03-29T01:00"),
    ("Europe/Berlin", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("Europe/Dublin", "2026-03-29T01:00"),
    ("Antarctica/Troll", "2026-03-29T01:00"),
    ("Antarctica/Troll", "2026-10-25T01:00"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Asia/Pyongyang", "2015-08-14T15:00"),
    ("America/Caracas", "2016-05-01T07:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),  # a day skipped
    ("Pacific/Kwajalein", "1993-08-21T12:00"),  # a day skipped
    ("Pacific/Kwajalein", "1969-09-30T13:00"),  # a day repeated, but for an hour
    ("Asia/Tokyo", "2026-06-01T00:00"),  # no change
]


@dataclass
class Item:
    """One item of a field, and what it means."""

    text: str
    values: set[int]
    all_days: bool = False
    starred: bool = False


@dataclass
class Pattern:
    """A field for each of second, minute, hour, day, month, weekday."""

    fields: list[list[Item]]
    seconds_given: bool

    @property
    def text(self) -> str:
        fields = [",".join(item.text for item in field) for field in self.fields]
        return " ".join(fields if self.seconds_given else fields[1:])

    @cached_property
    def is_interval(self) -> bool:
        return any(item.starred for field in self.fields[:3] for item in field)

    @cached_property
    def values(self) -> list[set[int]]:
        return [set().union(*(item.values for item in field)) for field in self.fields]

    @cached_property
    def needs_both_days(self) -> bool:
        return any(item.all_days for item in self.fields[3] + self.fields[5])

    def matches_date(self, local: datetime) -> bool:
        _, _, _, days, months, weekdays = self.values
        day, weekday = local.day in days, local.isoweekday() % 7 in weekdays
        return local.month in months and (
            day and weekday if self.needs_both_days else day or weekday
        )

    def matches_time(self, local: datetime) -> bool:
        seconds, minutes, hours, _, _, _ = self.values
        return local.second in seconds and local.minute in minutes and local.hour in hours

    def matches(self, local: datetime) -> bool:
        return self.matches_time(local) and self.matches_date(local)


@st.composite
def items(draw, lowest, highest, words=()):
    def spelled(value: int) -> str:
        return words[value - lowest] if words and draw(st.booleans()) else str(value)

    kind = draw(st.sampled_from(["star", "value", "value", "range", "open"]))
    step = draw(st.none() | st.integers(1, highest + 2))
    suffix = "" if step is None else f"/{step}"
    first = draw(st.integers(lowest, highest))
    last = draw(st.integers(first, highest))
    if kind == "star":
        values = {v for v in range(lowest, highest + 1) if (v - lowest) % (step or 1) == 0}
        star = draw(st.sampled_from("*?"))
        return Item(star + suffix, values, all_days=step in {None, 1}, starred=True)
    if kind == "value":
        return Item(spelled(first), {first})
    if kind == "range":
        values = {v for v in range(first, last + 1) if (v - first) % (step or 1) == 0}
        return Item(f"{spelled(first)}-{spelled(last)}{suffix}", values)
    step = step or 1
    values = {v for v in range(first, highest + 1) if (v - first) % step == 0}
    return Item(f"{spelled(first)}/{step}", values)


def field(lowest, highest, words=(), most=3):
    return st.lists(items(lowest, highest, words), min_size=1, max_size=most)


@st.composite
def patterns(draw, *, seconds_given: bool):
    seconds = draw(field(0, 59)) if seconds_given else [Item("0", {0})]
    rest = [
        draw(field(0, 59)),
        draw(field(0, 23)),
        draw(field(1, 31)),
        draw(st.just([Item("*", set(range(1, 13)))]) | field(1, 12, MONTHS)),
        draw(field(0, 6, WEEKDAYS, most=2)),
    ]
    return Pattern([seconds, *rest], seconds_given)


def each_step(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += step


def fired(
    pattern: Pattern, zone: ZoneInfo, after: datetime, until: datetime, step: timedelta
) -> list[datetime]:
    """Walk through (after, until]; both are multiples of the step."""
    found = []
    for instant in each_step(after + step, until + step, step):
        local = instant.astimezone(zone)
        shown = local.replace(tzinfo=None, fold=0)
        if pattern.is_interval:
            hit = pattern.matches(shown)
        else:
            hit = local.fold == 0 and pattern.matches(shown)
            previous = (instant - step).astimezone(zone).replace(tzinfo=None, fold=0)
            hit = hit or any(map(pattern.matches, each_step(previous + step, shown, step)))
        if hit:
            found.append(instant)
    return found


# Walking is slow, so there are fewer examples than usual.
some = settings(max_examples=40)
starts = st.datetimes(datetime(1975, 1, 1), datetime(2120, 1, 1)).map(
    lambda start: start.replace(second=0, microsecond=0, tzinfo=UTC)
)


@some
@given(patterns(seconds_given=False), starts)
def test_minutes_are_found_as_by_looking_at_each(pattern, start):
    end = start + timedelta(days=2)

    found = Schedule.parse(pattern.text).between(start, end, limit=ENOUGH)

    assert found == [
        t for t in each_step(start + MINUTE, end + MINUTE, MINUTE) if pattern.matches(t)
    ]


@some
@given(patterns(seconds_given=True), starts)
def test_seconds_are_found_as_by_looking_at_each(pattern, start):
    end = start + timedelta(minutes=40)

    found = Schedule.parse(pattern.text).between(start, end, limit=ENOUGH)

    assert found == [
        t for t in each_step(start + SECOND, end + SECOND, SECOND) if pattern.matches(t)
    ]


@some
@given(patterns(seconds_given=False), st.integers(1975, 2120))
def test_minutes_are_found_over_years(pattern, year):
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 9, 1, 1, tzinfo=UTC)
    days = (day for day in each_step(start, end, timedelta(days=1)) if pattern.matches_date(day))
    minutes = (t for day in days for t in each_step(day, day + timedelta(days=1), MINUTE))

    found = Schedule.parse(pattern.text).between(start - SECOND, end - SECOND, limit=25)

    assert found == list(islice(filter(pattern.matches_time, minutes), 25))


@some
@given(patterns(seconds_given=False), st.sampled_from(CHANGES))
def test_minutes_around_a_change_of_clocks_are_found_as_by_walking(pattern, change):
    name, at = change
    middle = datetime.fromisoformat(at).replace(tzinfo=UTC)
    start, end = middle - timedelta(hours=26), middle + timedelta(hours=26)

    found = Schedule.parse(pattern.text, time_zone=name).between(start, end, limit=ENOUGH)

    assert found == fired(pattern, ZoneInfo(name), start, end, MINUTE)


@some
@given(patterns(seconds_given=True), st.sampled_from(CHANGES), st.integers(-3600, 3600))
def test_seconds_around_a_change_of_clocks_are_found_as_by_walking(pattern, change, shift):
    name, at = change
    middle = datetime.fromisoformat(at).replace(tzinfo=UTC) + timedelta(seconds=shift)
    start, end = middle - timedelta(minutes=15), middle + timedelta(minutes=15)

    found = Schedule.parse(pattern.text, time_zone=name).between(start, end, limit=ENOUGH)

    assert found == fired(pattern, ZoneInfo(name), start, end, SECOND)


@given(
    patterns(seconds_given=True), st.sampled_from(CHANGES), st.timedeltas(-3 * MINUTE, 3 * MINUTE)
)
def test_what_is_next_does_not_depend_on_where_one_asks(pattern, change, shift):
    name, at = change
    asked = datetime.fromisoformat(at).replace(tzinfo=UTC) + shift
    schedule = Schedule.parse(pattern.text, time_zone=name)

    found = schedule.next_after(asked)

    if found is not None:
        assert found > asked
        assert found.tzinfo is UTC
        assert found.microsecond == 0
        assert schedule.next_after(found - timedelta(microseconds=1)) == found
        assert schedule.next_after(asked + (found - asked) / 2) == found


def test_a_span_has_its_end_but_not_its_start():
    schedule = Schedule.parse("0 * * * *")
    eight, ten = datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 10, tzinfo=UTC)

    assert schedule.between(eight, ten, limit=9) == [eight + timedelta(hours=1), ten]
    assert schedule.between(eight, ten, limit=1) == [eight + timedelta(hours=1)]
    assert schedule.between(eight, ten, limit=0) == []
    assert schedule.between(ten, eight, limit=9) == []


def test_instants_of_other_zones_are_understood():
    berlin = datetime(2026, 1, 1, 9, tzinfo=ZoneInfo("Europe/Berlin"))

    assert Schedule.parse("0 * * * *").upcoming(berlin, 1) == [datetime(2026, 1, 1, 9, tzinfo=UTC)]


def test_an_instant_without_a_zone_is_a_mistake():
    with pytest.raises(TypeError):
        Schedule.parse("0 * * * *").next_after(datetime(2026, 1, 1))


def calls_of(act: Callable[[], object]) -> int:
    """How many functions are called, also those written in C: the same on any machine."""
    count = 0

    def counted(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Berlin", "Pacific/Apia"])
@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "59 59 23 31 12 *",
        "0 0 30 2 *",
        "* * 29 2 *",
        "0 9 29 2 *",
        "*/30 2 28 3 *",
        "*/59 59 23 31 4,6,9,11 *",
        ", * * * *",
        "* * , * *",
        "0 0 1 , *",
        "30 2 28-31 3,10 0",
        "0 0 30 12 *",
    ],
)
@pytest.mark.parametrize("year", [1895, 1896, 2011, 2026, 2096, 9990])
def test_no_search_takes_long(zone, expression, year):
    schedule = Schedule.parse(expression, time_zone=zone)
    asked = datetime(year, 2, 28, 23, 59, 59, tzinfo=UTC)

    assert calls_of(lambda: schedule.next_after(asked)) < 3000


@pytest.mark.parametrize(
    "expression",
    [
        "0," * 5000,
        "0," * 500 + "0 * * * *",
        "*/1," * 250 + " * * * *",
        "1" * 1000 + " * * * *",
        "*/" + "1" * 1000 + " * * * *",
        "a" * 1000 + " * * * *",
        " " * 10_000,
        "* " * 5000,
        "@every " + "1h" * 5000,
        "@every " + "1h" * 500,
        "TZ=" + "Europe/" * 140 + " * * * * *",
        "TZ=" + "A" * 10_000 + " * * * * *",
        "\N{ARABIC-INDIC DIGIT FIVE}" * 10_000,
    ],
)
def test_no_expression_takes_long_to_read(expression):
    def read() -> None:
        with contextlib.suppress(InvalidScheduleError):
            Schedule.parse(expression)

    assert calls_of(read) < 30_000
