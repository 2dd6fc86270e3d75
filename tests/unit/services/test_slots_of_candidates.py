"""In which order a process takes its own tasks and those of others' slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from factories import START, a_task
from fakes import FoundTask
from shop import NO_TIME, Shop, ids, running

from tasques.domain.claim_rank import claim_rank
from tasques.domain.task import Version
from tasques.services.candidates import CandidateBuffer, GoneVersions
from tasques.services.ready_list import ReadyList
from tasques.services.slots import Slots

NOW = 0.0
LEFT_LYING = 0.6
REACH = 2.0
SLOTS = Slots(0, 2)


def _names(is_own):
    return [f"{n}" for n in range(200) if SLOTS.is_own(f"{n}") is is_own]


OWN, FOREIGN = _names(is_own=True), _names(is_own=False)


@dataclass
class Shelf:
    """A buffer that is searched for again and again; ranks are by order and priority."""

    slots: Slots = field(default_factory=lambda: SLOTS)
    gone: GoneVersions = field(default_factory=lambda: GoneVersions(1000))
    buffer: CandidateBuffer = field(init=False)

    def __post_init__(self):
        self.buffer = CandidateBuffer(self.slots, self.gone)

    def search(self, *names, at=NOW, priorities=None, seq_no=0, size=100):
        self.buffer.replace(
            self.page(*names, priorities=priorities, seq_no=seq_no),
            size=size,
            searched_at=at,
            answered_at=at,
        )

    def page(self, *names, priorities=None, seq_no=0):
        """Candidates due one after the other, of these priorities, which must fall."""
        return [
            FoundTask("mail", name, claim_rank(priority, START) + number, Version(seq_no, 1), None)
            for number, (name, priority) in enumerate(
                zip(names, priorities or [0] * len(names), strict=True)
            )
        ]

    def take_all(self):
        while (first := self.buffer.first()) is not None:
            self.gone.add((first.queue, first.task_id), first.version)
            self.buffer.drop_first()
            yield first.task_id

    @property
    def taken(self):
        return list(self.take_all())


@pytest.fixture
def shelf():
    return Shelf()


def test_tasks_of_those_who_may_not_be_there_come_behind_the_own_ones():
    shelf = Shelf(slots=Slots(0, 2, is_certain=False))

    shelf.search(FOREIGN[0], OWN[0], FOREIGN[1], OWN[1], priorities=[1, 1, 0, 0])

    assert shelf.taken == [OWN[0], FOREIGN[0], OWN[1], FOREIGN[1]]


def test_tasks_of_those_who_may_not_be_there_wait_for_the_next_page_of_own_ones():
    shelf = Shelf(slots=Slots(0, 2, is_certain=False))

    shelf.search(FOREIGN[0], OWN[0], size=2)
    assert shelf.taken == [OWN[0]]
    shelf.buffer.extend(shelf.page(FOREIGN[0], OWN[0], OWN[1])[1:], size=3)

    assert shelf.taken == [OWN[1], FOREIGN[0]]


def test_own_tasks_are_there_at_once_and_those_of_others_are_left_to_them(shelf):
    shelf.search(FOREIGN[0], OWN[0], FOREIGN[1], OWN[1])

    assert shelf.taken == [OWN[0], OWN[1]]


@pytest.mark.parametrize(("after", "is_taken"), [(LEFT_LYING - 0.01, False), (LEFT_LYING, True)])
def test_a_task_of_another_slot_is_anybodys_once_it_was_left_lying(shelf, after, is_taken):
    shelf.search(FOREIGN[0])
    shelf.search(FOREIGN[0], at=NOW + 0.3)
    shelf.search(FOREIGN[0], at=NOW + after)

    assert shelf.taken == [FOREIGN[0]] * is_taken


def test_what_was_left_lying_keeps_its_place_among_the_own_ones(shelf):
    shelf.search(FOREIGN[0])
    shelf.search(OWN[0], FOREIGN[0], OWN[1], FOREIGN[2], at=NOW + LEFT_LYING)

    assert shelf.taken == [OWN[0], FOREIGN[0], OWN[1]]


def test_a_task_that_was_claimed_and_came_back_was_not_left_lying(shelf):
    shelf.search(FOREIGN[0], seq_no=1)
    shelf.search(FOREIGN[0], seq_no=3, at=NOW + LEFT_LYING)
    assert shelf.taken == []

    shelf.search(FOREIGN[0], seq_no=3, at=NOW + LEFT_LYING + REACH + 0.1)
    assert shelf.taken == [FOREIGN[0]]


def test_a_task_that_was_out_of_sight_for_a_while_was_not_left_lying(shelf):
    shelf.search(FOREIGN[0])
    shelf.search(at=NOW + 0.3)
    shelf.search(FOREIGN[0], at=NOW + LEFT_LYING)

    assert shelf.taken == []


def test_within_a_priority_own_tasks_come_first_but_no_lower_priority_before_a_higher(shelf):
    shelf.search(FOREIGN[0], OWN[0], FOREIGN[1], OWN[1], FOREIGN[2], priorities=[2, 2, 1, 0, 0])

    assert shelf.taken == [OWN[0], FOREIGN[0], FOREIGN[1], OWN[1]]


def test_priorities_hold_across_pages(shelf):
    page = shelf.page(FOREIGN[0], OWN[0], FOREIGN[1], OWN[1], priorities=[1, 1, 1, 0])
    shelf.buffer.replace(page[:2], size=2, searched_at=NOW, answered_at=NOW)
    shelf.buffer.extend(page[2:3], size=1)
    shelf.buffer.extend(page[3:], size=100)

    assert shelf.taken == [OWN[0], FOREIGN[0], FOREIGN[1], OWN[1]]


def test_a_page_that_shows_held_back_tasks_again_does_not_double_them(shelf):
    page = shelf.page(FOREIGN[0], FOREIGN[1], OWN[0], priorities=[1, 1, 0])
    shelf.buffer.replace(page[:2], size=2, searched_at=NOW, answered_at=NOW)
    shelf.buffer.extend(page[1:], size=100)

    assert shelf.taken == [FOREIGN[0], FOREIGN[1], OWN[0]]


def test_what_is_held_back_is_released_before_a_new_task_of_a_lower_priority(shelf):
    shelf.search(FOREIGN[0], FOREIGN[1], priorities=[1, 1])
    assert shelf.buffer.first() is None

    assert shelf.buffer.release_before(claim_rank(0, START))
    assert shelf.taken == [FOREIGN[0], FOREIGN[1]]


def test_what_is_released_comes_before_what_is_there_in_its_order(shelf):
    shelf.search(OWN[0], FOREIGN[0], FOREIGN[1])

    assert shelf.buffer.release_before(claim_rank(-1, START))
    assert shelf.taken == [FOREIGN[0], FOREIGN[1], OWN[0]]
    assert not shelf.buffer.release_before(claim_rank(-1, START))


@pytest.mark.parametrize("priority", [0, 1])
def test_nothing_is_released_before_a_new_task_of_the_same_or_a_higher_priority(shelf, priority):
    shelf.search(FOREIGN[0])

    assert not shelf.buffer.release_before(claim_rank(priority, START))
    assert shelf.taken == []


def test_where_a_process_is_alone_it_holds_nothing_back():
    shelf = Shelf(Slots())
    shelf.search(FOREIGN[0], OWN[0])

    assert shelf.taken == [FOREIGN[0], OWN[0]]


def test_what_is_too_old_is_not_held_back_either(shelf):
    shelf.search(FOREIGN[0], priorities=[1])
    assert shelf.buffer.expire(NOW + 1)
    assert not shelf.buffer.expire(NOW + 1.1)

    assert not shelf.buffer.release_before(claim_rank(0, START))


# ---------------------------------------------------------------- what others come to


def test_what_the_owner_comes_to_within_two_seconds_is_left_to_it(shelf):
    """It takes one in 0.6 s, so about three in two seconds."""
    shelf.search(*FOREIGN[:6])
    shelf.search(*FOREIGN[1:6], OWN[0], at=NOW + LEFT_LYING)

    assert shelf.taken == [FOREIGN[5], OWN[0]]


def test_an_owner_that_takes_nothing_any_more_is_soon_forgotten(shelf):
    shelf.search(*FOREIGN[:3])
    shelf.search(*FOREIGN[1:3], at=NOW + LEFT_LYING)
    assert shelf.taken == []

    shelf.search(*FOREIGN[1:3], OWN[0], at=NOW + LEFT_LYING + REACH + 0.1)

    assert shelf.taken == [*FOREIGN[1:3], OWN[0]]


def test_what_is_dealt_here_is_no_sign_of_the_owner(shelf):
    shelf.search(*FOREIGN[:3])
    shelf.search(*FOREIGN[:3], at=NOW + LEFT_LYING)
    assert next(shelf.take_all()) == FOREIGN[0]

    shelf.search(*FOREIGN[1:3], at=NOW + LEFT_LYING + 0.1)

    assert shelf.taken == FOREIGN[1:3]


def test_what_is_beyond_a_smaller_search_is_no_sign_of_the_owner(shelf):
    shelf.search(*FOREIGN[:3])
    shelf.search(*FOREIGN[:2], at=NOW + LEFT_LYING, size=2)

    assert shelf.taken == FOREIGN[:2]


def test_of_several_others_one_after_the_other_takes_what_is_left_lying():
    all_of_them = [Slots(number, 4) for number in range(4)]
    for name in OWN + FOREIGN:
        assert sorted(each.turn(name) for each in all_of_them) == [0, 1, 2, 3]
        (owner,) = [each for each in all_of_them if each.turn(name) == 0]
        assert owner.is_own(name)


@pytest.mark.parametrize("turn", [1, 2])
def test_who_is_later_in_the_order_waits_longer(turn):
    shelf = Shelf(Slots(0, 3))
    name = next(each for each in OWN + FOREIGN if shelf.slots.turn(each) == turn)
    shelf.search(name)
    shelf.search(name, at=NOW + turn * LEFT_LYING - 0.01)
    assert shelf.taken == []

    shelf.search(name, at=NOW + turn * LEFT_LYING)

    assert shelf.taken == [name]


# ---------------------------------------------------------------- new tasks


def ready_list(gone=None):
    return ReadyList(
        max_tasks=10, max_bytes=1000, seconds=3.0, gone=gone or GoneVersions(10), slots=SLOTS
    )


@pytest.mark.parametrize(("name", "seconds"), [(OWN[0], 3.0), (FOREIGN[0], 0.05)])
def test_a_new_task_of_another_slot_is_ready_here_for_a_moment_only(name, seconds):
    """Who waits here gets it at once; later the others may have seen it."""
    ready = ready_list()
    ready.add([a_task(id=name, version=Version(0, 1))], NOW)

    assert ready.first(("mail",), NOW + seconds - 0.01) is not None
    assert ready.first(("mail",), NOW + seconds) is None


def test_new_tasks_of_another_slot_come_behind_the_own_ones_of_their_priority():
    """Their owner may be about to take them, and the own ones are enough for now."""
    gone = GoneVersions(10)
    ready = ready_list(gone)
    new = [
        (FOREIGN[0], 0),
        (OWN[0], 0),
        (FOREIGN[1], 0),
        (OWN[1], 0),
        (OWN[2], -1),
        (FOREIGN[2], 1),
    ]
    ready.add([a_task(id=name, priority=each, version=Version(0, 1)) for name, each in new], NOW)

    dealt = []
    while (first := ready.first(("mail",), NOW)) is not None:
        gone.add((first.queue, first.task_id), first.version)
        dealt.append(first.task_id)

    assert dealt == [FOREIGN[2], OWN[0], OWN[1], FOREIGN[0], FOREIGN[1], OWN[2]]


# ---------------------------------------------------------------- claims


@pytest.fixture
async def shop():
    """The first of two processes."""
    async with running(Shop(slots=Slots(0, 2))) as shop:
        yield shop


async def test_one_of_two_processes_hands_out_the_own_ones_first(shop):
    await shop.lay(a_task(id=FOREIGN[0]), a_task(id=OWN[0]))

    assert ids(await shop.claim(amount=10)) == [OWN[0]]


async def test_a_claim_gets_what_the_other_process_leaves_lying(shop):
    await shop.lay(a_task(id=FOREIGN[0]))
    claim = await shop.park("worker-1")
    await shop.clock.advance(0.5)
    assert not claim.done()

    await shop.clock.advance(0.5)

    assert ids(await claim) == [FOREIGN[0]]


async def test_a_claim_that_does_not_wait_gets_what_was_left_lying_by_its_second_look(shop):
    await shop.lay(a_task(id=FOREIGN[0]))
    assert await shop.look() == []
    await shop.clock.advance(LEFT_LYING)

    assert ids(await shop.claim(block_for=NO_TIME)) == [FOREIGN[0]]


async def test_a_higher_priority_of_another_slot_goes_before_a_lower_one_of_the_own(shop):
    await shop.lay(a_task(id=OWN[0]), a_task(id=FOREIGN[0], priority=1))

    assert ids(await shop.claim()) == [FOREIGN[0]]


async def test_a_higher_priority_of_another_slot_goes_before_a_lower_one_that_is_new(shop):
    await shop.lay(a_task(id=FOREIGN[0], priority=1))
    claim = await shop.park("worker-1", amount=2)
    await shop.enqueue(OWN[0])

    assert ids(await claim) == [FOREIGN[0], OWN[0]]


async def test_a_new_task_of_another_slot_is_handed_to_who_waits(shop):
    claim = await shop.park("worker-1")
    await shop.enqueue(FOREIGN[0])

    assert ids(await claim) == [FOREIGN[0]]


async def test_what_was_found_in_the_own_slot_goes_before_a_new_task_of_another(shop):
    await shop.lay(a_task(id=OWN[0]), a_task(id=OWN[1]))
    assert ids(await shop.claim()) == [OWN[0]]
    await shop.enqueue(FOREIGN[0], run_at=START - timedelta(days=1))

    assert ids(await shop.claim()) == [OWN[1]]
    assert ids(await shop.claim()) == [FOREIGN[0]]


async def test_one_of_two_processes_asks_for_twice_as_many(shop):
    await shop.park("worker-1")
    shop.slots.count = 4
    await shop.clock.advance(0.5)

    assert shop.tasks.searches[0].size == 100
    assert shop.tasks.searches[-1].size == 200


async def test_whoever_is_left_alone_takes_all(shop):
    await shop.lay(a_task(id=FOREIGN[0]))
    claim = await shop.park("worker-1")
    shop.slots.own, shop.slots.count = 0, 1
    await shop.clock.advance(0.31)

    assert ids(await claim) == [FOREIGN[0]]


async def test_a_process_that_is_about_to_stop_leaves_its_slot_to_the_others(shop):
    await shop.lay(a_task(id=OWN[0]))
    await shop.claim()
    assert shop.broker.is_active

    shop.broker.close()

    assert not shop.broker.is_active


def test_what_was_found_for_other_slots_is_searched_anew():
    shelf = Shelf(Slots(0, 1))
    shelf.search(*OWN[:3], *FOREIGN[:3])
    assert shelf.buffer.is_fresh(NOW)

    shelf.slots.count = 2
    assert not shelf.buffer.is_fresh(NOW)
    shelf.search(*OWN[:3], *FOREIGN[:3])
    assert shelf.buffer.is_fresh(NOW)
