from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.duration import InvalidDurationError, format_duration, parse_duration
from tasques.domain.errors import InvalidRequestError

LONGEST: Final = timedelta(microseconds=(2**63 - 1) // 1000)
durations = st.timedeltas(-LONGEST, LONGEST)


def microseconds(number: int) -> timedelta:
    return timedelta(microseconds=number)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", timedelta(0)),
        ("+0", timedelta(0)),
        ("-0", timedelta(0)),
        ("0s", timedelta(0)),
        ("-0h0m", timedelta(0)),
        ("30m", timedelta(minutes=30)),
        ("30s", timedelta(seconds=30)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("1.s", timedelta(seconds=1)),
        ("1m1h", timedelta(minutes=61)),
        ("1s1s", timedelta(seconds=2)),
        ("+5m", timedelta(minutes=5)),
        ("-5m", timedelta(minutes=-5)),
        ("-1h1m", timedelta(minutes=-61)),
        ("-1.5s", timedelta(seconds=-1.5)),
        ("100ms", timedelta(milliseconds=100)),
        ("1us", microseconds(1)),
        ("1\u00b5s", microseconds(1)),
        ("1\u03bcs", microseconds(1)),
        ("1000\u00b5s", microseconds(1000)),
        ("1000\u03bcs", microseconds(1000)),
        ("2000ns", microseconds(2)),
        ("0" * 126 + "5s", timedelta(seconds=5)),
        ("1h1m1s1ms1us", timedelta(hours=1, minutes=1, seconds=1, milliseconds=1, microseconds=1)),
        ("1.000001s", timedelta(seconds=1, microseconds=1)),
        ("0.000000000000000001h", timedelta(0)),
        ("007m", timedelta(minutes=7)),
        ("8760h", timedelta(days=365)),
        ("2562047h47m16.854775807s", LONGEST),
        ("-2562047h47m16.854775807s", -LONGEST),
        ("9223372036854775807ns", LONGEST),
    ],
)
def test_durations_are_read_as_go_reads_them(text, duration):
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "-",
        ".",
        "5",
        "00",
        "5.5",
        "s",
        ".s",
        "-.s",
        " ",
        " 5s",
        "5s ",
        "5 s",
        "1h 30m",
        "5s\n",
        "1d",
        "1w",
        "1y",
        "5S",
        "5M",
        "1H",
        "1Ms",
        "5sec",
        "5min",
        "1hour",
        "1h30",
        "30m-5s",
        "--5s",
        "+-5s",
        "1e3s",
        "1,5s",
        "1.2.3s",
        "0x5s",
        "\u0665s",  # a digit, but not of ASCII
        "\uff15s",
        "inf",
        "nan",
        "PT5M",
        "00:05:00",
        "2562047h47m16.854775808s",
        "9223372036854775808ns",
        "2562048h",
        "106752d",
        "9" * 127 + "h",
        "0" * 127 + "5s",
        "1s" * 65,
    ],
)
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(InvalidDurationError) as caught:
        parse_duration(text)

    assert isinstance(caught.value, InvalidRequestError)
    assert repr(text)[:20].rstrip("'") in str(caught.value)
    assert "is not a duration such as '30s', '5m' or '1h30m'" in str(caught.value)


@pytest.mark.parametrize(
    ("length", "shown"), [(40, "x" * 40), (41, "x" * 40 + "..."), (100_000, "x" * 40 + "...")]
)
def test_a_refusal_does_not_repeat_a_long_text(length, shown):
    with pytest.raises(InvalidDurationError, match=f"^'{re.escape(shown)}' is not"):
        parse_duration("x" * length)


@pytest.mark.parametrize("text", ["1ns", "999ns", "0.9us", "0.000001ms"])
def test_a_duration_that_is_not_zero_does_not_become_zero(text):
    assert parse_duration(text) == microseconds(1)
    assert parse_duration(f"-{text}") == microseconds(-1)


@pytest.mark.parametrize(("text", "kept"), [("1999ns", 1), ("1.0000019s", 1_000_001)])
def test_parts_of_a_microsecond_are_cut_towards_zero(text, kept):
    assert parse_duration(text) == microseconds(kept)
    assert parse_duration(f"-{text}") == microseconds(-kept)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(minutes=30), "30m0s"),
        (timedelta(hours=1), "1h0m0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=1.5), "1h30m0s"),
        (timedelta(seconds=1), "1s"),
        (timedelta(seconds=10), "10s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(seconds=59.999999), "59.999999s"),
        (timedelta(milliseconds=100), "100ms"),
        (timedelta(milliseconds=500), "500ms"),
        (timedelta(milliseconds=1.5), "1.5ms"),
        (microseconds(999_999), "999.999ms"),
        (microseconds(1000), "1ms"),
        (microseconds(999), "999\u00b5s"),
        (microseconds(1), "1\u00b5s"),
        (timedelta(hours=1, milliseconds=500), "1h0m0.5s"),
        (timedelta(days=3), "72h0m0s"),
        (timedelta(minutes=-5), "-5m0s"),
        (timedelta(milliseconds=-1.5), "-1.5ms"),
        (microseconds(-1), "-1\u00b5s"),
        (LONGEST, "2562047h47m16.854775s"),
    ],
)
def test_durations_are_written_as_go_writes_them(duration, text):
    assert format_duration(duration) == text


@given(durations)
def test_what_is_written_is_read_back_as_it_was(duration):
    assert parse_duration(format_duration(duration)) == duration


@given(durations)
def test_a_duration_and_its_negative_differ_in_the_sign_only(duration):
    text = format_duration(duration)
    negative = f"-{text}" if duration > timedelta(0) else text[1:] if duration else text

    assert format_duration(-duration) == negative


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["us", "ms", "s", "m", "h"]))))
def test_the_parts_of_a_duration_are_added_up_in_any_order(parts):
    text = "".join(f"{number}{unit}" for number, unit in parts[:20])
    backwards = "".join(f"{number}{unit}" for number, unit in reversed(parts[:20]))
    each = [parse_duration(f"{number}{unit}") for number, unit in parts[:20]]

    if text:
        assert parse_duration(text) == parse_duration(backwards) == sum(each, timedelta(0))


@given(st.text(max_size=200))
def test_any_text_is_either_a_duration_or_refused(text):
    try:
        duration = parse_duration(text)
    except InvalidDurationError:
        return
    assert abs(duration) <= LONGEST
