from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from factories import START
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.claim_rank import MAX_PRIORITY, claim_rank

MILLISECOND: Final = timedelta(milliseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = EPOCH + (2**42 - 1) * MILLISECOND

ranked_priorities = st.integers(-MAX_PRIORITY, MAX_PRIORITY)
any_priorities = st.integers(-(2**63), 2**63 - 1)
any_instants = st.datetimes(timezones=st.timezones())
ranked_instants = st.integers(0, 2**42 - 1).map(lambda number: EPOCH + number * MILLISECOND)


def test_the_rank_is_the_time_less_the_weight_of_the_priority():
    assert claim_rank(0, EPOCH) == 0
    assert claim_rank(0, EPOCH + 1234 * MILLISECOND) == 1234
    assert claim_rank(1, EPOCH) == -(2**42)
    assert claim_rank(-2, EPOCH + 5 * MILLISECOND) == 2**43 + 5


@given(ranked_priorities, ranked_priorities, any_instants, any_instants)
def test_a_higher_priority_goes_first_whenever_it_is_due(one, other, at, at_other):
    low, high = sorted((one, other))

    assert low == high or claim_rank(high, at) < claim_rank(low, at_other)


@given(any_priorities, ranked_instants, ranked_instants)
def test_among_equals_what_is_due_earlier_goes_first(priority, one, other):
    early, late = sorted((one, other))

    assert early == late or claim_rank(priority, early) < claim_rank(priority, late)


@given(any_priorities, any_priorities, any_instants, any_instants)
def test_no_later_task_of_no_higher_priority_is_preferred(one, other, at, at_other):
    low, high = sorted((one, other))
    early, late = sorted((at, at_other))

    assert claim_rank(high, early) <= claim_rank(low, late)


@given(any_priorities, any_instants)
def test_every_rank_fits_a_long(priority, at):
    assert -(2**63) <= claim_rank(priority, at) < 2**63


@pytest.mark.parametrize("beyond", [MAX_PRIORITY + 1, 2**31, 2**63 - 1])
def test_priorities_beyond_the_bounds_rank_like_the_bounds(beyond):
    assert claim_rank(beyond, START) == claim_rank(MAX_PRIORITY, START)
    assert claim_rank(-beyond, START) == claim_rank(-MAX_PRIORITY, START)
    assert claim_rank(MAX_PRIORITY, START) < claim_rank(MAX_PRIORITY - 1, START)
    assert claim_rank(-MAX_PRIORITY, START) > claim_rank(1 - MAX_PRIORITY, START)


@pytest.mark.parametrize(
    "before_1970",
    ["0001-01-01T00:00:00+00:00", "1880-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"],
)
def test_instants_before_1970_do_not_outrank_a_priority(before_1970):
    at = datetime.fromisoformat(before_1970)

    assert claim_rank(1, START) < claim_rank(0, at)
    assert claim_rank(0, at) == claim_rank(0, EPOCH) < claim_rank(0, EPOCH + MILLISECOND)


def test_instants_of_the_far_future_do_not_outrank_a_priority():
    latest = datetime.max.replace(tzinfo=UTC)

    assert claim_rank(1, latest) < claim_rank(0, EPOCH)
    assert claim_rank(0, latest) == claim_rank(0, LAST) > claim_rank(0, LAST - MILLISECOND)


def test_the_zone_in_which_an_instant_is_written_does_not_matter():
    elsewhere = datetime.fromisoformat("2026-03-01T21:00:00+09:00")

    assert elsewhere == START
    assert claim_rank(3, elsewhere) == claim_rank(3, START)
