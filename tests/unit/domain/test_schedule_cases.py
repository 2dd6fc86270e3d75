"""Expressions with instants on which two independent programs agree; the data state the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tasques.domain.instant import format_instant, parse_instant
from tasques.domain.schedule import InvalidScheduleError, Schedule

CASES: Final[list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("schedule_cases.json").read_text(encoding="utf-8")
)["cases"]


def cases(*, valid: bool):
    return [pytest.param(case, id=case["id"]) for case in CASES if case["valid"] is valid]


def test_no_case_is_lost():
    assert len(cases(valid=True)) + len(cases(valid=False)) == len(CASES) == 119


@pytest.mark.parametrize("case", cases(valid=True))
def test_a_schedule_has_the_instants_of_its_case(case):
    schedule = Schedule.parse(case["expression"], time_zone=case["time_zone"])

    instants = schedule.upcoming(parse_instant(case["start"]), 5)

    assert [format_instant(instant) for instant in instants] == case["next"]


@pytest.mark.parametrize("case", cases(valid=False))
def test_an_expression_that_is_none_is_refused(case):
    with pytest.raises(InvalidScheduleError):
        Schedule.parse(case["expression"], time_zone=case["time_zone"])
