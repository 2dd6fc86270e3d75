from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.errors import ShuttingDownError
from tasques.domain.ports import Lane
from tasques.repository.lanes import Lanes
from tasques.repository.writes import Submission

KIB = 1024
BESIDE_URGENT = 16 * KIB
AMONG_URGENT = 96 * KIB


class Loop:
    """Futures ask their loop for its mode, and for nothing else until they are answered."""

    def get_debug(self):
        return False

    def call_soon(self, *args, **options):
        pass


def a_write(lane, size=10):
    return Submission(0.0, asyncio.Future(loop=Loop())).add(lane, b"x" * size)


def lanes_with(*writes, max_operations=500, max_bytes=5 * KIB * KIB):
    lanes = Lanes(max_operations, max_bytes)
    for write in writes:
        lanes.add(write)
    return lanes


def total(batch):
    return sum(len(write.body) for write in batch)


def of(lane, batch):
    return [write for write in batch if write.lane is lane]


writes = st.lists(
    st.builds(a_write, st.sampled_from(Lane), st.integers(1, 400)), min_size=1, max_size=60
)
bounds = st.tuples(st.integers(1, 20), st.integers(1, 1000))


def test_urgent_writes_go_first():
    create, claim, done = (a_write(lane) for lane in (Lane.CREATE, Lane.CLAIM, Lane.ACKNOWLEDGE))

    assert lanes_with(create, claim, done).take(3) == [done, claim, create]


def test_within_a_lane_the_order_is_kept():
    some = [a_write(Lane.CREATE) for _ in range(9)]

    assert lanes_with(*some).take(3) == some


def test_nothing_waits_nothing_is_sent():
    assert lanes_with().take(3) == []


@given(writes, bounds)
def test_a_request_keeps_its_bounds_or_is_a_single_write(some, limits):
    max_operations, max_bytes = limits
    lanes = lanes_with(*some, max_operations=max_operations, max_bytes=max_bytes)

    while batch := lanes.take(2):
        assert len(batch) <= max_operations
        assert total(batch) <= max_bytes or len(batch) == 1


@given(writes, bounds)
def test_each_write_is_taken_once_and_in_the_order_of_its_lane(some, limits):
    lanes = lanes_with(*some, max_operations=limits[0], max_bytes=limits[1])

    taken = []
    while batch := lanes.take(2):
        taken.extend(batch)

    assert len(taken) == len(some)
    for lane in Lane:
        assert of(lane, taken) == of(lane, some)


@given(writes, bounds, st.integers(1, 400))
def test_no_lane_starves_however_full_the_others_are(some, limits, size):
    lanes = lanes_with(*some, max_operations=limits[0], max_bytes=limits[1])
    victims = {lane: a_write(lane, size) for lane in Lane}
    for victim in victims.values():
        lanes.add(victim)

    taken = set()
    for _ in range(6 * (len(some) + 3)):
        taken.update(lanes.take(1))
        for lane in Lane:  # more than ever fits comes behind
            for _ in range(3):
                lanes.add(a_write(lane, 400))

    assert taken >= set(victims.values())


def test_each_lane_that_waits_has_an_eighth_of_a_request():
    lanes = lanes_with(
        *(a_write(lane) for lane in Lane for _ in range(100)), max_operations=80, max_bytes=KIB**2
    )

    batch = lanes.take(3)

    assert [len(of(lane, batch)) for lane in Lane] == [60, 10, 10]


def test_shares_that_nobody_needs_are_used_by_others():
    lanes = lanes_with(*(a_write(Lane.ACKNOWLEDGE) for _ in range(100)), max_operations=80)

    assert len(lanes.take(3)) == 80


def test_new_tasks_never_take_the_last_free_slot():
    create = a_write(Lane.CREATE)
    lanes = lanes_with(create)

    assert lanes.take(1) == []
    assert lanes.take(2) == [create]


@pytest.mark.parametrize("lane", [Lane.ACKNOWLEDGE, Lane.CLAIM])
def test_urgent_writes_take_the_last_free_slot(lane):
    write = a_write(lane)

    assert lanes_with(write).take(1) == [write]


@pytest.mark.parametrize("lane", [Lane.ACKNOWLEDGE, Lane.CLAIM])
def test_beside_an_urgent_write_new_tasks_are_few(lane):
    lanes = lanes_with(a_write(lane), *(a_write(Lane.CREATE, KIB) for _ in range(400)))

    assert total(of(Lane.CREATE, lanes.take(3))) == BESIDE_URGENT


def test_while_there_are_urgent_writes_requests_of_new_tasks_are_small():
    lanes = lanes_with(
        a_write(Lane.ACKNOWLEDGE), *(a_write(Lane.CREATE, KIB) for _ in range(5_000))
    )
    lanes.take(3)

    sizes = [total(lanes.take(3)) for _ in range(20)]

    assert sizes[0] == AMONG_URGENT
    assert sizes[-1] == 500 * KIB  # the urgent one was long ago


def test_beside_an_urgent_write_there_is_one_new_task_at_least():
    lanes = lanes_with(
        a_write(Lane.ACKNOWLEDGE), *(a_write(Lane.CREATE, BESIDE_URGENT + 1) for _ in range(2))
    )

    assert len(of(Lane.CREATE, lanes.take(3))) == 1


@pytest.mark.parametrize("lane", Lane)
def test_a_write_that_is_too_large_goes_alone(lane):
    large = a_write(lane, 101)
    others = [a_write(each) for each in Lane]
    lanes = lanes_with(large, *others, max_bytes=100)

    batches = [batch for _ in range(5) if (batch := lanes.take(2))]

    assert [large] in batches
    assert {id(write) for batch in batches for write in batch} == set(map(id, [large, *others]))


def test_new_tasks_can_be_left_out():
    claim, create = a_write(Lane.CLAIM), a_write(Lane.CREATE)
    lanes = lanes_with(create, claim)

    assert lanes.take(3, with_creates=False) == [claim]
    assert lanes.take(3, with_creates=False) == []
    assert lanes.take(3) == [create]


def test_what_was_tried_before_goes_first():
    old, new = [a_write(Lane.CREATE) for _ in range(3)], a_write(Lane.CREATE)
    lanes = lanes_with(new)
    lanes.add_first(old)

    assert lanes.take(3) == [*old, new]


@given(st.lists(st.booleans(), max_size=20), st.sampled_from(Lane))
def test_what_nobody_waits_for_is_left_out(gone, lane):
    some = [a_write(lane) for _ in gone]
    for write, is_gone in zip(some, gone, strict=True):
        if is_gone:
            write.break_off(ShuttingDownError("Nobody waits."))

    batch = lanes_with(*some).take(2)

    assert batch == [write for write in some if not write.is_over]
