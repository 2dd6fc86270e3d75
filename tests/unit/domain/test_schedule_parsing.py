from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.errors import InvalidRequestError
from tasques.domain.schedule import InvalidScheduleError, Schedule, load_time_zone

NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)


def problem_of(expression: str, **more: str) -> str:
    with pytest.raises(InvalidScheduleError) as caught:
        Schedule.parse(expression, **more)
    assert caught.value.code == "invalid_schedule"
    assert isinstance(caught.value, InvalidRequestError)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "must not be empty"),
        (
            "1 2 3",
            (
                "must have five fields (minute, hour, day of month, month, day of week) or six "
                "(with leading seconds), has 3"
            ),
        ),
        ("60 * * * * *", "second: '60' is not between 0 and 59"),
        ("61 * * * *", "minute: '61' is not between 0 and 59"),
        ("* * * 1-13 *", "month: '13' is not between 1 and 12"),
        ("* * * * 7", "day of week: '7' is not between 0 and 6"),
        ("*/0 * * * *", "minute: the step of '*/0' must not be zero"),
        ("* 9-8 * * *", "hour: the range '9-8' ends before it begins"),
        ("mon * * * *", "minute: 'mon' is not a number"),
        (
            "* * * * sunday",
            "day of week: 'sunday' is not one of sun, mon, tue, wed, thu, fri, sat",
        ),
        (
            "* * * * 5#2",
            (
                "day of week: '5#2' is none of '*', a value, a range such as '1-5', "
                "or one of these with a step such as '*/5'"
            ),
        ),
        (
            "@Daily",
            (
                "'@Daily' is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
                "@hourly or '@every' with one blank and a duration"
            ),
        ),
        ("@every x", "@every: 'x' is not a duration such as '30s', '5m' or '1h30m'"),
        ("@every 999ms", "@every: '999ms' is less than one second"),
        (
            "TZ=UTC",
            "a schedule must follow the time zone, such as in 'TZ=Europe/Berlin 0 8 * * *'",
        ),
        ("TZ= 0 0 * * *", "the time zone must not be empty"),
        (
            "TZ=Mars/Olympus 0 0 * * *",
            "there is no time zone 'Mars/Olympus': use an IANA name such as 'Europe/Berlin'",
        ),
        ("0," * 5000, "must not have more than 1024 characters, has 10000"),
    ],
)
def test_the_message_says_what_is_wrong(expression, problem):
    assert problem_of(expression) == problem


@pytest.mark.parametrize(
    "expression",
    [
        "*-5 * * * *",
        "*5 * * * *",
        "** * * * *",
        "*/ * * * *",
        "*/-1 * * * *",
        "*/x * * * *",
        "+5 * * * *",
        "5- * * * *",
        "/5 * * * *",
        "1;2 * * * *",
        "* * * jan-xyz *",
        "* * * mon *",
        "* * * * jan",
        "* * ? * \u017fun",  # its capital is an S
        "@hourly ",
        "@every 5m ",
        "@every -5m",
        "@every 0",
        "@every",
        "@every5m",
        "@every\t5m",
        "TZ=UTC TZ=UTC * * * * *",
        "TZ=UTC ",
        " TZ=UTC * * * * *",
        "tz=UTC * * * * *",
        "TZ=UTC @every  5m",
        "CRON_TZ=",
        "@",
        "\0",
        "\ud800 * * * *",
        "9" * 1000 + " * * * *",
    ],
)
def test_what_only_looks_like_an_expression_is_refused(expression):
    assert len(problem_of(expression)) < 200


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("  1\t2 *\n* * ", "1 2 * * *"),
        ("01 002 * * *", "1 2 * * *"),
        ("0 0 * Jan-MAR,dEc mOn", "0 0 * 1-3,12 1"),
        ("* * * * *", "0 * * * * *"),
        ("0 ? ? ? ?", "0 * * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("9-17/4 * * * *", "9,13,17 * * * *"),
        ("0 0 * feb/5 *", "0 0 * 2,7,12 *"),
        ("*/99 * * * *", "0 * * * *"),
        ("7/99999999999999999999999 * * * *", "7 * * * *"),
        ("TZ=UTC   @hourly ", "0 * * * *"),
        ("CRON_TZ=UTC 0 0 * * *", "0 0 * * *"),
    ],
)
def test_two_spellings_mean_the_same(expression, same):
    instants = Schedule.parse(expression).upcoming(NEW_YEAR, 30)

    assert len(instants) == 30
    assert instants == Schedule.parse(same).upcoming(NEW_YEAR, 30)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "Europe//Berlin",
        "Europe/../Europe/Berlin",
        "./UTC",
        "../../../etc/passwd",
        "/etc/localtime",
        "europe/berlin",
        "Mars/Olympus",
        "Local",
        "localtime",
        "posixrules",
        "Factory",
        "posix/UTC",
        "right/UTC",
        "zone.tab",
        "tzdata.zi",
        "leapseconds",
        "__init__",
        "UTC\n",
        "UTC\0",
        " UTC",
        "\uff35TC",
        "\ud800",
        "A" * 10_000,
        "Europe/" * 9 + "x",
    ],
)
def test_what_is_no_time_zone_is_refused(name):
    assert len(problem_of("0 0 * * *", time_zone=name)) < 150
    with pytest.raises(InvalidScheduleError):
        load_time_zone(name)


@pytest.mark.parametrize("prefix", ["TZ=", "CRON_TZ="])
@pytest.mark.parametrize(
    "name", ["", "Europe", "../../etc/passwd", "UTC\0", "right/UTC", "A" * 900]
)
def test_what_is_no_time_zone_is_refused_as_a_prefix(prefix, name):
    assert "time zone" in problem_of(f"{prefix}{name} 0 0 * * *")


@pytest.mark.parametrize(
    "name", ["UTC", "Etc/GMT+5", "America/Argentina/Ushuaia", "America/Port-au-Prince", "EST5EDT"]
)
def test_time_zones_are_found_by_their_iana_names(name):
    assert Schedule.parse("0 0 * * *", time_zone=name).time_zone == name
    assert Schedule.parse(f"TZ={name} 0 0 * * *").time_zone == name


def test_without_a_zone_times_are_utc():
    schedule = Schedule.parse("0 8 * * *")

    assert schedule.time_zone == "UTC"
    assert schedule.next_after(NEW_YEAR) == datetime(2026, 1, 1, 8, tzinfo=UTC)


def test_a_zone_in_the_expression_goes_before_the_one_beside_it():
    schedule = Schedule.parse("TZ=Asia/Tokyo 30 9 * * *", time_zone="Europe/Berlin")

    assert schedule.expression == "TZ=Asia/Tokyo 30 9 * * *"
    assert schedule.time_zone == "Asia/Tokyo"
    assert schedule.next_after(NEW_YEAR) == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


def test_the_zone_beside_an_expression_must_exist_even_if_it_does_not_count():
    assert "Mars" in problem_of("TZ=UTC 0 0 * * *", time_zone="Mars")
    assert "Mars" in problem_of("@every 5m", time_zone="Mars")


def parsed(text: str) -> Schedule | None:
    """None if the text is refused with a message fit to be read."""
    try:
        return Schedule.parse(text)
    except InvalidScheduleError as error:
        problems = error.problems
    assert all(0 < len(problem) < 300 for problem in problems)
    return None


@given(st.text(max_size=60) | st.text("0159*?/-,@ TZ=UCmonjae\t", max_size=40))
def test_any_text_is_a_schedule_or_refused(text):
    schedule = parsed(text)

    if schedule is not None:
        assert all(instant > NEW_YEAR for instant in schedule.upcoming(NEW_YEAR, 3))


@given(
    st.lists(st.text("0123456789*?/-,amonjfelurs", min_size=1, max_size=6), min_size=5, max_size=6)
)
def test_any_fields_are_a_schedule_or_refused(fields):
    schedule = parsed(" ".join(fields))

    if schedule is not None:
        assert all(instant > NEW_YEAR for instant in schedule.upcoming(NEW_YEAR, 3))


@given(st.text(max_size=80) | st.text("./EuropBlinUTC+-_0", max_size=20))
def test_any_name_is_a_time_zone_or_refused(name):
    schedule = None
    with contextlib.suppress(InvalidScheduleError):
        schedule = Schedule.parse("0 0 * * *", time_zone=name)

    if schedule is not None:
        assert schedule.time_zone == name
        assert schedule.next_after(NEW_YEAR) is not None
