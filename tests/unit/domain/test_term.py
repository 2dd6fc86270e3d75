from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.term import Term

SECONDS = st.floats(min_value=0.1, max_value=10_000, allow_nan=False)


@pytest.mark.parametrize(
    ("at", "is_trusted"), [(10.0, True), (14.4, True), (14.5, False), (15.0, False), (99.0, False)]
)
def test_trust_ends_a_margin_before_the_lease(at, is_trusted):
    assert Term(sent_at=10.0, lease=5.0, margin=0.5).is_trusted(at) is is_trusted


@given(SECONDS, SECONDS, st.floats(0.01, 0.5), SECONDS)
def test_trust_is_over_when_others_may_take_the_lead(sent_at, lease, part, seen_after):
    term = Term(sent_at, lease, lease * part)
    others_begin_at = sent_at + seen_after

    assert not term.is_trusted(others_begin_at + lease)
