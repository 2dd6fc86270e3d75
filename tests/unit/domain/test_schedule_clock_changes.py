"""What happens when clocks change, worked out by hand from the rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from tasques.domain.instant import format_instant, parse_instant
from tasques.domain.schedule import Schedule

SECOND: Final = timedelta(seconds=1)

# 02:00 to 03:00 is skipped on 29 March 2026 (01:00Z) and repeats on 25 October 2026 (01:00Z).
BERLIN: Final = {
    "0 2 * * * from 2026-03-28T12:00Z": "2026-03-29T01:00Z 2026-03-30T00:00Z",
    "59 1 * * * from 2026-03-28T12:00Z": "2026-03-29T00:59Z 2026-03-29T23:59Z",
    "0,30 2,3 * * * from 2026-03-29T00:00Z": (
        "2026-03-29T01:00Z 2026-03-29T01:30Z 2026-03-30T00:00Z 2026-03-30T00:30Z 2026-03-30T01:00Z"
    ),
    "30 2 * * 0 from 2026-03-28T12:00Z": "2026-03-29T01:00Z 2026-04-05T00:30Z",
    "30 2 * * 1 from 2026-03-28T12:00Z": "2026-03-30T00:30Z",
    "30 2/2 * * * from 2026-03-29T00:00Z": "2026-03-29T01:00Z 2026-03-29T02:30Z 2026-03-29T04:30Z",
    "15 30 2 * * * from 2026-03-29T00:00Z": "2026-03-29T01:00:00Z 2026-03-30T00:30:15Z",
    "30 30 2,3 * * * from 2026-03-29T00:00Z": (
        "2026-03-29T01:00:00Z 2026-03-29T01:30:30Z 2026-03-30T00:30:30Z"
    ),
    "*/20 * * * * from 2026-03-29T00:30Z": "2026-03-29T00:40Z 2026-03-29T01:00Z 2026-03-29T01:20Z",
    "? 2 * * * from 2026-03-28T12:00Z": "2026-03-30T00:00Z 2026-03-30T00:01Z",
    "0 2 * * * from 2026-10-24T12:00Z": "2026-10-25T00:00Z 2026-10-26T01:00Z",
    "0 3 * * * from 2026-10-24T12:00Z": "2026-10-25T02:00Z 2026-10-26T02:00Z",
    "30 2 * * * from 2026-10-25T00:45Z": "2026-10-26T01:30Z",
    "30 2 * * * from 2026-10-25T01:15Z": "2026-10-26T01:30Z",
    "30 1-3 * * * from 2026-10-24T22:00Z": (
        "2026-10-24T23:30Z 2026-10-25T00:30Z 2026-10-25T02:30Z 2026-10-26T00:30Z"
    ),
    "*/30 2 * * * from 2026-10-24T12:00Z": (
        "2026-10-25T00:00Z 2026-10-25T00:30Z 2026-10-25T01:00Z 2026-10-25T01:30Z 2026-10-26T01:00Z"
    ),
    # In 2027 the changes are on 28 March and 31 October.
    "30 2 28 3 * from 2027-01-01T00:00Z": (
        "2027-03-28T01:00Z 2028-03-28T00:30Z 2029-03-28T00:30Z 2030-03-28T01:30Z 2031-03-28T01:30Z"
    ),
    "15,45 2 28 3 * from 2027-01-01T00:00Z": (
        "2027-03-28T01:00Z 2028-03-28T00:15Z 2028-03-28T00:45Z"
    ),
    "30 2 31 10 * from 2027-01-01T00:00Z": "2027-10-31T00:30Z 2028-10-31T01:30Z 2029-10-31T01:30Z",
    "*/30 2 31 10 * from 2027-01-01T00:00Z": (
        "2027-10-31T00:00Z 2027-10-31T00:30Z 2027-10-31T01:00Z 2027-10-31T01:30Z "
        "2028-10-31T01:00Z 2028-10-31T01:30Z"
    ),
    # An interval that exists only within the gap of 2027 waits for a year without.
    "*/30 2 28 3 * from 2027-01-01T00:00Z": "2028-03-28T00:00Z 2028-03-28T00:30Z",
}
# 02:00 to 03:00 is skipped on 8 March 2026 (07:00Z), 01:00 to 02:00 repeats on 1 November (06:00Z).
NEW_YORK: Final = {
    "0 2 * * * from 2026-03-07T12:00Z": "2026-03-08T07:00Z 2026-03-09T06:00Z",
    "*/30 1-3 * * * from 2026-03-08T05:45Z": (
        "2026-03-08T06:00Z 2026-03-08T06:30Z 2026-03-08T07:00Z 2026-03-08T07:30Z 2026-03-09T05:00Z"
    ),
    "0 1 * * * from 2026-10-31T12:00Z": "2026-11-01T05:00Z 2026-11-02T06:00Z",
    "0 0-3 * * * from 2026-11-01T03:00Z": (
        "2026-11-01T04:00Z 2026-11-01T05:00Z 2026-11-01T07:00Z 2026-11-01T08:00Z 2026-11-02T05:00Z"
    ),
    "0 * * * * from 2026-11-01T04:30Z": (
        "2026-11-01T05:00Z 2026-11-01T06:00Z 2026-11-01T07:00Z 2026-11-01T08:00Z"
    ),
    "30 2 14 3 * from 2027-01-01T00:00Z": "2027-03-14T07:00Z 2028-03-14T06:30Z 2029-03-14T06:30Z",
    "30 1 7 11 * from 2027-01-01T00:00Z": "2027-11-07T05:30Z 2028-11-07T06:30Z",
}
# Half an hour: 02:00 to 02:30 is skipped on 4 October 2026 (15:30Z of the 3rd), 01:30 to 02:00
# repeats on 5 April 2026 (15:00Z of the 4th).
LORD_HOWE: Final = {
    "0 2 * * * from 2026-10-03T00:00Z": "2026-10-03T15:30Z 2026-10-04T15:00Z",
    "15,30,45 2 * * * from 2026-10-03T00:00Z": (
        "2026-10-03T15:30Z 2026-10-03T15:45Z 2026-10-04T15:15Z"
    ),
    "*/15 2 * * * from 2026-10-03T00:00Z": "2026-10-03T15:30Z 2026-10-03T15:45Z 2026-10-04T15:00Z",
    "30 1 * * * from 2026-04-04T00:00Z": "2026-04-04T14:30Z 2026-04-05T15:00Z",
    "0 2 * * * from 2026-04-04T00:00Z": "2026-04-04T15:30Z 2026-04-05T15:30Z",
    "*/15 1 * * * from 2026-04-04T13:50Z": (
        "2026-04-04T14:00Z 2026-04-04T14:15Z 2026-04-04T14:30Z 2026-04-04T14:45Z "
        "2026-04-04T15:00Z 2026-04-04T15:15Z 2026-04-05T14:30Z"
    ),
}
# At midnight: 4 November 2018 began at 01:00 (03:00Z), 17 February 2018 (a Saturday) had 23:00
# to 24:00 twice (until 03:00Z). No change of clocks since 2019.
SAO_PAULO: Final = {
    "30 0 * * * from 2018-11-03T12:00Z": "2018-11-04T03:00Z 2018-11-05T02:30Z",
    "0 0 4 11 * from 2018-11-03T12:00Z": "2018-11-04T03:00Z 2019-11-04T03:00Z",
    "0 0 * * 0 from 2018-11-03T12:00Z": "2018-11-04T03:00Z 2018-11-11T02:00Z",
    "0 0 * * 6 from 2018-11-03T12:00Z": "2018-11-10T02:00Z",
    "*/30 0 * * * from 2018-11-03T12:00Z": "2018-11-05T02:00Z 2018-11-05T02:30Z",
    "0 23 * * * from 2018-02-17T12:00Z": "2018-02-18T01:00Z 2018-02-19T02:00Z",
    "0 0 * * * from 2018-02-17T12:00Z": "2018-02-18T03:00Z 2018-02-19T03:00Z",
    "59 23 * * 6 from 2018-02-17T12:00Z": "2018-02-18T01:59Z 2018-02-25T02:59Z",
    "30 * * * * from 2018-02-18T00:45Z": "2018-02-18T01:30Z 2018-02-18T02:30Z 2018-02-18T03:30Z",
}
# 30 December 2011 did not take place: the 31st followed the 29th (10:00Z of the 30th).
APIA: Final = {
    "0 8-10 30 12 * from 2011-12-29T12:00Z": "2011-12-30T10:00Z 2012-12-29T18:00Z",
    "*/30 0 30 12 * from 2011-12-29T12:00Z": "2012-12-29T10:00Z 2012-12-29T10:30Z",
    "0 0 31 12 * from 2011-12-29T12:00Z": "2011-12-30T10:00Z 2012-12-30T10:00Z",
    "0 6 * * 5 from 2011-12-29T12:00Z": "2011-12-30T10:00Z 2012-01-05T16:00Z",
}
# 1 October 1969 began (13:00Z of 30 September) and at once the clocks went back by 23 hours.
KWAJALEIN: Final = {
    "0 12 * * * from 1969-09-30T00:30Z": "1969-09-30T01:00Z 1969-10-02T00:00Z",
    "30 23 30 9 * from 1969-10-01T11:00Z": "1970-10-01T11:30Z",
    "0 */12 30 9 * from 1969-09-29T00:00Z": (
        "1969-09-29T13:00Z 1969-09-30T01:00Z 1969-10-01T00:00Z 1970-09-30T12:00Z"
    ),
}
TABLE: Final = {
    "Europe/Berlin": BERLIN,
    "America/New_York": NEW_YORK,
    "Australia/Lord_Howe": LORD_HOWE,
    "America/Sao_Paulo": SAO_PAULO,
    "Pacific/Apia": APIA,
    "Pacific/Kwajalein": KWAJALEIN,
}


def instant(text: str):
    return parse_instant(text if text.count(":") == 2 else text.replace("Z", ":00Z"))


@pytest.mark.parametrize(
    ("zone", "question", "answer"),
    [(zone, *row) for zone, rows in TABLE.items() for row in rows.items()],
)
def test_a_schedule_follows_the_clocks(zone, question, answer):
    expression, start = question.split(" from ")
    expected = [instant(text) for text in answer.split()]

    schedule = Schedule.parse(expression, time_zone=zone)

    assert schedule.upcoming(instant(start), len(expected)) == expected


@pytest.mark.parametrize("early", [timedelta(hours=30), SECOND, timedelta(microseconds=1)])
def test_a_skipped_time_is_made_up_for_until_the_gap_is_over(early):
    schedule = Schedule.parse("30 2 * * 0", time_zone="Europe/Berlin")
    gap = instant("2026-03-29T01:00Z")

    assert schedule.next_after(gap - early) == gap
    assert schedule.next_after(gap) == instant("2026-04-05T00:30Z")


def test_an_hourly_schedule_has_twenty_five_instants_on_the_long_day():
    schedule = Schedule.parse("0 * 31 10 *", time_zone="Europe/Berlin")

    instants = schedule.upcoming(instant("2027-01-01T00:00Z"), 26)

    assert format_instant(instants[0]) == "2027-10-30T22:00:00Z"
    assert format_instant(instants[24]) == "2027-10-31T22:00:00Z"
    assert format_instant(instants[25]) == "2028-10-30T23:00:00Z"


@pytest.mark.parametrize("expression", ["0 0 * * *", "30 1 * * *", "0 2 * * *", "15 2 * * *"])
@pytest.mark.parametrize("zone", sorted(TABLE.keys() - {"Pacific/Apia", "Pacific/Kwajalein"}))
def test_a_time_of_the_day_fires_once_on_each_day_of_twenty_years(zone, expression):
    after, until = instant("2005-06-15T12:00Z"), instant("2025-06-15T12:00Z")

    fired = Schedule.parse(expression, time_zone=zone).between(after, until, limit=20_000)

    assert len(fired) == (until - after).days
