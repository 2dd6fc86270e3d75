from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest
from factories import START, a_task
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.instant import LATEST, format_instant, parse_instant
from tasques.domain.retry import MAX_JITTER, backoff_seconds, next_attempt_at

LATE_2026: Final = datetime(2026, 12, 1, tzinfo=UTC)
MOST_RETRIES: Final = 2**31 - 2
BOUNDS: Final = [
    (0, 15, 44),
    (1, 16, 74),
    (2, 31, 118),
    (3, 96, 212),
    (10, 10_015, 10_334),
    (24, 331_791, 332_516),
]


class RiggedRandom(Random):
    """Draws what it was told to, and remembers the bounds."""

    def __init__(self, drawn: int) -> None:
        super().__init__(0)
        self.drawn = drawn
        self.bounds: list[tuple[int, int]] = []

    def randint(self, a: int, b: int) -> int:
        self.bounds.append((a, b))
        return self.drawn


@pytest.mark.parametrize(("retries", "shortest", "longest"), BOUNDS)
def test_the_delay_grows_with_the_fourth_power_of_the_retries(retries, shortest, longest):
    assert backoff_seconds(retries, 0) == shortest
    assert backoff_seconds(retries, MAX_JITTER) == longest


def test_all_retries_of_the_default_take_about_three_weeks():
    total = sum(backoff_seconds(retries, 0) for retries in range(25))

    assert total == 1_763_395


@pytest.mark.parametrize(("retries", "shortest", "longest"), BOUNDS)
@pytest.mark.parametrize("jitter", [0, MAX_JITTER])
def test_the_next_attempt_is_a_delay_away(retries, shortest, longest, jitter):
    random = RiggedRandom(jitter)

    delay = next_attempt_at(START, retries, random) - START

    assert delay == timedelta(seconds=longest if jitter else shortest)
    assert random.bounds == [(0, 29)]


def test_tasks_that_fail_together_do_not_come_back_together():
    random = Random(1)

    instants = {next_attempt_at(START, 0, random) for _ in range(1000)}

    assert instants == {START + timedelta(seconds=seconds) for seconds in range(15, 45)}


@pytest.mark.parametrize("jitter", [0, MAX_JITTER])
def test_the_last_delay_that_stays_within_the_calendar_is_not_cut(jitter):
    at = next_attempt_at(LATE_2026, 708, RiggedRandom(jitter))

    assert at == LATE_2026 + timedelta(seconds=backoff_seconds(708, jitter))
    assert at < LATEST


@pytest.mark.parametrize("retries", [709, 3048, 3049, 10**6, MOST_RETRIES])
@pytest.mark.parametrize("jitter", [0, MAX_JITTER])
def test_a_delay_beyond_the_calendar_ends_with_it(retries, jitter):
    at = next_attempt_at(LATE_2026, retries, RiggedRandom(jitter))

    assert at == LATEST
    assert parse_instant(format_instant(at)) == LATEST


def test_a_delay_that_ends_exactly_at_the_latest_instant_is_kept():
    at = LATEST - timedelta(seconds=15)

    assert next_attempt_at(at, 0, RiggedRandom(0)) == LATEST
    assert next_attempt_at(at - timedelta(seconds=1), 0, RiggedRandom(0)) == LATEST - timedelta(
        seconds=1
    )


@given(
    retries=st.integers(0, MOST_RETRIES),
    at=st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),
    seed=st.integers(),
)
def test_the_next_attempt_is_never_after_the_latest_instant(retries, at, seed):
    assert next_attempt_at(at, retries, Random(seed)) <= LATEST


@given(retries=st.integers(0, 10_000), jitter=st.integers(0, MAX_JITTER))
def test_a_later_retry_waits_longer(retries, jitter):
    assert backoff_seconds(retries + 1, jitter) > backoff_seconds(retries, jitter)


def test_the_latest_instant_can_be_shown_in_every_zone():
    for hours in (-23, 23):
        zone = datetime.fromisoformat(f"2000-01-01T00:00:00{hours:+03}:59").tzinfo

        assert LATEST.astimezone(zone) == LATEST


def test_a_task_that_fails_for_the_first_time_waits_without_a_power():
    assert backoff_seconds(a_task(attempted=1).retries, 0) == 15
    assert backoff_seconds(a_task(attempted=25).retries, 0) == 331_791
