from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.instant import LATEST
from tasques.domain.schedule import Schedule

ANCHOR: Final = datetime(2026, 1, 1, 10, 10, 10, 750_000, tzinfo=UTC)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-01T{clock}+00:00")


def test_instants_are_counted_from_the_anchor_whatever_is_asked():
    schedule = Schedule.parse("@every 90m")

    assert schedule.next_after(ANCHOR, anchor=ANCHOR) == at("11:40:10")
    assert schedule.next_after(at("11:40:09"), anchor=ANCHOR) == at("11:40:10")
    assert schedule.next_after(at("11:40:10"), anchor=ANCHOR) == at("13:10:10")
    assert schedule.next_after(at("11:40:10.5"), anchor=ANCHOR) == at("13:10:10")


def test_nothing_happens_before_one_interval_has_passed():
    schedule = Schedule.parse("@every 1h")

    assert schedule.next_after(at("00:00:00"), anchor=ANCHOR) == at("11:10:10")


def test_without_an_anchor_the_instant_that_is_asked_about_is_one():
    schedule = Schedule.parse("@every 1h")

    assert schedule.next_after(ANCHOR) == at("11:10:10")
    assert schedule.upcoming(ANCHOR, 2) == [at("11:10:10"), at("12:10:10")]
    assert schedule.between(ANCHOR, at("12:10:10"), limit=9) == schedule.upcoming(ANCHOR, 2)


def test_fractions_of_a_second_are_cut():
    schedule = Schedule.parse("@every 2.999s")

    assert schedule.upcoming(ANCHOR, 2) == [at("10:10:12"), at("10:10:14")]


def test_the_anchor_holds_for_lists_too():
    schedule = Schedule.parse("TZ=Europe/Berlin @every 36h")
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    anchor = datetime(2026, 3, 27, 12, tzinfo=UTC)
    expected = [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC)]

    assert schedule.upcoming(after, 2, anchor=anchor) == expected
    assert schedule.between(after, expected[1], limit=5, anchor=anchor) == expected
    assert schedule.between(after, expected[1], limit=1, anchor=anchor) == expected[:1]


@given(instants, instants, st.integers(1, 10**8))
def test_each_instant_is_a_multiple_of_the_interval_away_from_the_anchor(asked, anchor, seconds):
    interval = timedelta(seconds=seconds)
    origin = anchor.replace(microsecond=0)

    found = Schedule.parse(f"@every {seconds}s").next_after(asked, anchor=anchor)

    assert found is not None
    assert found > asked
    assert found >= origin + interval
    assert (found - origin) % interval == timedelta(0)
    assert found - interval <= max(asked, origin)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=14))]
)
@pytest.mark.parametrize("expression", ["@every 1s", "@every 2562047h", "* * * * * *", "0 0 1 1 *"])
def test_the_ends_of_time_are_no_trouble(expression, zone):
    schedule = Schedule.parse(expression, time_zone="Pacific/Kiritimati")
    first = datetime.min.replace(tzinfo=zone)
    last = datetime.max.replace(tzinfo=zone)

    found = schedule.next_after(first, anchor=first)

    assert found is not None
    assert found.tzinfo is UTC
    assert schedule.next_after(last, anchor=first) is None
    assert schedule.next_after(LATEST, anchor=LATEST) is None


def test_an_interval_that_ends_after_all_time_never_comes():
    schedule = Schedule.parse("@every 24h")

    assert schedule.next_after(LATEST - timedelta(hours=24)) == LATEST
    assert schedule.next_after(LATEST - timedelta(hours=23)) is None
    assert schedule.upcoming(LATEST - timedelta(hours=49), 9) == [
        LATEST - timedelta(hours=25),
        LATEST - timedelta(hours=1),
    ]
