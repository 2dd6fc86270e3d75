from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.errors import InvalidRequestError
from tasques.domain.instant import (
    ZERO,
    InvalidInstantError,
    format_instant,
    parse_instant,
    to_milliseconds,
)

zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(timezones=zones)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2030-01-31T08:00:00Z", datetime(2030, 1, 31, 8, tzinfo=UTC)),
        ("2030-01-31T23:59:59Z", datetime(2030, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2030-01-31T08:00:00.5Z", datetime(2030, 1, 31, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2030-01-31T08:00:00.000001Z", datetime(2030, 1, 31, 8, 0, 0, 1, tzinfo=UTC)),
        ("2030-01-31T08:00:00.0000009Z", datetime(2030, 1, 31, 8, tzinfo=UTC)),
        ("2030-01-31T08:00:00.123456789Z", datetime(2030, 1, 31, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2030-01-31T08:00:00.1234567899999Z", datetime(2030, 1, 31, 8, 0, 0, 123_456, tzinfo=UTC)),
        ("2030-01-31T08:00:00+00:00", datetime(2030, 1, 31, 8, tzinfo=UTC)),
        ("2030-01-31T08:00:00-00:00", datetime(2030, 1, 31, 8, tzinfo=UTC)),
        ("2030-01-31T08:00:00+09:00", datetime(2030, 1, 30, 23, tzinfo=UTC)),
        ("2030-01-31T08:00:00-03:30", datetime(2030, 1, 31, 11, 30, tzinfo=UTC)),
        ("2030-01-31T08:00:00+14:00", datetime(2030, 1, 30, 18, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2000-02-29T00:00:00Z", datetime(2000, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", ZERO),
        ("0001-01-01T00:00:00+00:00", ZERO),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_instants_of_rfc_3339_are_read(text, instant):
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "0",
        "1893456000",
        "2030-01-31",
        "2030-01-31T08:00:00",
        "2030-01-31T08:00Z",
        "2030-01-31T08Z",
        "2030-01-31 08:00:00Z",
        "2030-01-31t08:00:00Z",
        "2030-01-31T08:00:00z",
        "2030-01-31T08:00:00.Z",
        "2030-01-31T08:00:00,5Z",
        "2030-01-31T08:00:00+0900",
        "2030-01-31T08:00:00+09",
        "2030-01-31T08:00:00+9:00",
        "2030-01-31T08:00:00 +09:00",
        "2030-01-31T08:00:00+24:00",
        "2030-01-31T08:00:00+09:60",
        "2030-01-31T08:00:00+09:00:00",
        "2030-01-31T08:00:00Z+09:00",
        "2030-01-31T08:00:00 UTC",
        "2030-01-31T08:00:00Z ",
        " 2030-01-31T08:00:00Z",
        "2030-01-31T08:00:00Z\n",
        "2030-01-31T24:00:00Z",
        "2030-01-31T25:00:00Z",
        "2030-01-31T08:60:00Z",
        "2030-01-31T08:00:60Z",
        "2030-02-30T08:00:00Z",
        "2030-02-29T08:00:00Z",
        "1900-02-29T08:00:00Z",
        "2030-13-01T08:00:00Z",
        "2030-00-01T08:00:00Z",
        "2030-01-00T08:00:00Z",
        "2030-04-31T08:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "+2030-01-31T08:00:00Z",
        "30-01-31T08:00:00Z",
        "2030-1-31T08:00:00Z",
        "20300131T080000Z",
        "2030-W05-4T08:00:00Z",
        "\u0662\u0660\u0663\u0660-01-31T08:00:00Z",  # digits, but not of ASCII
    ],
)
def test_what_is_no_instant_is_refused_by_name(text):
    with pytest.raises(InvalidInstantError) as caught:
        parse_instant(text)

    assert isinstance(caught.value, InvalidRequestError)
    assert repr(text)[:40].rstrip("'") in str(caught.value)
    assert "is not an RFC 3339 instant such as '2030-01-31T08:00:00Z'" in str(caught.value)


@pytest.mark.parametrize(
    ("length", "shown"), [(40, "1" * 40), (41, "1" * 40 + "..."), (100_000, "1" * 40 + "...")]
)
def test_a_refusal_does_not_repeat_a_long_text(length, shown):
    with pytest.raises(InvalidInstantError, match=f"^'{re.escape(shown)}' is not"):
        parse_instant("1" * length)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2030-01-31T08:00:00+09:00", timedelta(hours=9)),
        ("2030-01-31T08:00:00-03:30", timedelta(hours=-3, minutes=-30)),
        ("2030-01-31T08:00:00Z", timedelta(0)),
        ("2030-01-31T08:00:00+23:59", timedelta(hours=23, minutes=59)),
    ],
)
def test_an_instant_keeps_the_callers_offset(text, offset):
    assert parse_instant(text).utcoffset() == offset
    assert format_instant(parse_instant(text)) == text


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2030-01-31T08:00:00.000Z", "2030-01-31T08:00:00Z"),
        ("2030-01-31T08:00:00.500Z", "2030-01-31T08:00:00.5Z"),
        ("2030-01-31T08:00:00.100200+09:00", "2030-01-31T08:00:00.1002+09:00"),
        ("2030-01-31T08:00:00.123456789+09:00", "2030-01-31T08:00:00.123456+09:00"),
        ("2030-01-31T08:00:10+00:00", "2030-01-31T08:00:10Z"),
        ("2030-01-31T08:00:00-00:00", "2030-01-31T08:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("2030-01-31T08:00:00.00+00:30", "2030-01-31T08:00:00+00:30"),
    ],
)
def test_instants_are_shown_without_needless_zeros(sent, shown):
    assert format_instant(parse_instant(sent)) == shown


@given(instants)
def test_what_is_written_is_read_back_as_it_was(instant):
    read = parse_instant(format_instant(instant))

    assert read == instant
    assert read.utcoffset() == instant.utcoffset()


@given(instants)
def test_what_is_written_has_no_trailing_zero_in_its_fraction(instant):
    fraction = re.search(r"\.\d+", format_instant(instant))

    assert (fraction is None) == (instant.microsecond == 0)
    assert fraction is None or not fraction[0].endswith("0")


@given(st.text(max_size=60))
def test_any_text_is_either_an_instant_or_refused(text):
    try:
        instant = parse_instant(text)
    except InvalidInstantError:
        return
    assert instant.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T09:00:00+09:00", 0),
        ("2026-03-01T12:00:00.123456Z", 1_772_366_400_123),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000),
        ("9999-12-31T23:59:59.999999-12:00", 253_402_343_999_999),
    ],
)
def test_milliseconds_are_counted_from_1970_and_never_rounded_up(text, milliseconds):
    assert to_milliseconds(parse_instant(text)) == milliseconds
