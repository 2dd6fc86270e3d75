from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from fake_presence import InMemoryPresenceRepository, SignsOfLife
from fakes import FakeClock, settle

from tasques.domain.errors import StoreRejectedError, StoreUnavailableError
from tasques.services.slots import Presence, ServerProcess, Slots

INTERVAL = 2.0
LEAVING = 1.2  # a second, and what it takes to notice
TASKS = [f"task-{number}" for number in range(1000)]


class Process:
    """One that hands out tasks, or might."""

    def __init__(self, name, siblings, signs, clock):
        self.name = name
        self.slots = Slots()
        self.repository = InMemoryPresenceRepository(signs)
        self.is_active = True
        self.presence = Presence(
            processes=self.repository,
            process=ServerProcess(name, siblings),
            slots=self.slots,
            clock=clock,
            interval=INTERVAL,
        )
        self.loop = None

    @property
    def slot(self):
        return self.slots.own, self.slots.count

    def run(self):
        self.loop = asyncio.create_task(self.presence.run(lambda: self.is_active))

    async def die(self):
        self.loop.cancel()
        with suppress(asyncio.CancelledError):
            await self.loop


class House:
    """Processes on one store and one clock."""

    def __init__(self):
        self.signs = SignsOfLife()
        self.clock = FakeClock()
        self.processes = []

    def process(self, name, siblings=()):
        self.processes.append(Process(name, siblings, self.signs, self.clock))
        return self.processes[-1]

    async def running(self, *names):
        """Processes that have found each other."""
        processes = [self.process(name) for name in names]
        for process in processes:
            process.run()
        await self.clock.advance(2 * INTERVAL)
        return processes


@pytest.fixture
async def house():
    house = House()
    yield house
    for process in house.processes:
        if process.loop is not None:
            await process.die()


# ---------------------------------------------------------------- slots


def test_a_process_alone_has_every_task():
    assert all(map(Slots().is_own, TASKS))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_each_task_is_in_one_slot_and_all_slots_have_about_as_many(count):
    slots = [Slots(own, count) for own in range(count)]
    owned = [[task for task in TASKS if slot.is_own(task)] for slot in slots]

    assert sorted(task for each in owned for task in each) == sorted(TASKS)
    assert min(map(len, owned)) > len(TASKS) / count / 2


def test_any_id_has_a_slot():
    assert Slots(0, 2).is_own("\N{SNOWMAN}") != Slots(1, 2).is_own("\N{SNOWMAN}")


# ---------------------------------------------------------------- numbering


async def test_processes_number_themselves_alike(house):
    processes = await house.running("c", "a", "b")

    assert [process.slot for process in processes] == [(2, 3), (0, 3), (1, 3)]


async def test_processes_that_begin_together_know_each_other_at_once(house):
    processes = [house.process(name) for name in ("a", "b", "c")]
    for process in processes:
        process.run()
    await house.clock.advance(INTERVAL / 5)

    assert [process.slot for process in processes] == [(0, 3), (1, 3), (2, 3)]


async def test_who_comes_later_has_its_number_at_once_and_the_others_soon(house):
    (first,) = await house.running("b")
    assert first.slot == (0, 1)
    second = house.process("a")
    second.run()
    await settle()
    assert second.slot == (0, 2)

    await house.clock.advance(INTERVAL)

    assert first.slot == (1, 2)


async def test_who_gives_no_sign_of_life_is_left_out_after_a_few_were_missed(house):
    first, second = await house.running("a", "b")
    await first.die()

    await house.clock.advance(3 * INTERVAL)
    assert second.slot == (1, 2)
    await house.clock.advance(2 * INTERVAL)

    assert second.slot == (0, 1)


async def test_who_comes_back_is_counted_again(house):
    first, second = await house.running("a", "b")
    await first.die()
    await house.clock.advance(5 * INTERVAL)

    first.run()
    await house.clock.advance(2 * INTERVAL)

    assert (first.slot, second.slot) == ((0, 2), (1, 2))


async def test_a_sign_of_life_that_a_dead_process_left_counts_for_a_few_intervals(house):
    house.signs.put("0-dead")
    (living,) = await house.running("living")
    assert living.slot == (1, 2)

    await house.clock.advance(3 * INTERVAL)

    assert living.slot == (0, 1)


async def test_a_process_looks_at_its_own_clock_only_for_how_long_others_were_silent(house):
    """It matters whether a sign of life is new, not what it says."""
    first, second = await house.running("a", "b")
    house.signs.stored["a"] = house.signs.stored["a"]._replace(primary_term=9)
    await first.die()

    await house.clock.advance(2 * INTERVAL)

    assert second.slot == (1, 2)


# ---------------------------------------------------------------- siblings

SIBLINGS = ("a", "b", "c")


async def test_siblings_have_their_numbers_before_any_sign_of_life(house):
    processes = [house.process(name, SIBLINGS) for name in SIBLINGS]

    assert [process.slot for process in processes] == [(0, 3), (1, 3), (2, 3)]
    assert not any(process.slots.is_certain for process in processes)


async def test_siblings_that_begin_together_keep_their_numbers_and_are_certain_at_once(house):
    processes = [house.process(name, SIBLINGS) for name in SIBLINGS]
    for process in processes:
        process.run()
    for _ in range(10):
        await house.clock.advance(0.1)
        assert [process.slot for process in processes] == [(0, 3), (1, 3), (2, 3)]
        assert all(process.slots.is_certain for process in processes)


async def test_a_sibling_that_hands_out_nothing_is_soon_left_out(house):
    process = house.process("b", SIBLINGS)
    process.run()
    await settle()
    assert process.slot == (1, 3)
    assert not process.slots.is_certain

    await house.clock.advance(1.0)

    assert process.slot == (0, 1)
    assert process.slots.is_certain


async def test_siblings_and_others_are_numbered_alike(house):
    (stranger,) = await house.running("aa")
    siblings = [house.process(name, SIBLINGS) for name in SIBLINGS]
    for process in siblings:
        process.run()
    await house.clock.advance(2 * INTERVAL)

    assert stranger.slot == (1, 4)
    assert [process.slot for process in siblings] == [(0, 4), (2, 4), (3, 4)]


async def test_who_leaves_expects_its_siblings_to_begin_with_it_again(house):
    process = house.process("b", SIBLINGS)
    process.run()
    await house.clock.advance(INTERVAL)
    assert process.slot == (0, 1)

    process.is_active = False
    await house.clock.advance(LEAVING)

    assert process.slot == (1, 3)
    assert not process.slots.is_certain


async def test_while_the_store_fails_siblings_are_expected_but_not_certain(house):
    process = house.process("b", SIBLINGS)
    process.repository.error = StoreUnavailableError("down")
    process.run()

    await house.clock.advance(3 * INTERVAL)

    assert process.slot == (1, 3)
    assert not process.slots.is_certain


# ---------------------------------------------------------------- forgetting


async def test_who_was_silent_for_a_minute_is_forgotten(house):
    first, second = await house.running("a", "b")
    await first.die()

    await house.clock.advance(58)
    assert house.signs.stored.keys() == {"a", "b"}
    await house.clock.advance(6)

    assert house.signs.stored.keys() == {"b"}
    assert second.slot == (0, 1)


async def test_what_was_written_before_a_process_is_removed_saves_it(house):
    """The one who forgets may be late."""
    silent, other = await house.running("a", "b")
    await silent.die()
    await house.clock.advance(58)

    async def give_a_sign_of_life(process_id):
        house.signs.put(process_id)

    other.repository.before_remove = give_a_sign_of_life
    await house.clock.advance(6)

    assert other.repository.removed == ["a"]
    assert house.signs.stored.keys() == {"a", "b"}


# ---------------------------------------------------------------- leaving


async def test_who_hands_out_nothing_leaves_soon_and_has_every_task(house):
    first, second = await house.running("a", "b")

    first.is_active = False
    await house.clock.advance(LEAVING + INTERVAL)

    assert first.slot == (0, 1)
    assert second.slot == (0, 1)
    assert house.signs.stored.keys() == {"b"}


async def test_nobody_leaves_between_two_claims(house):
    first, second = await house.running("a", "b")
    for _ in range(20):
        first.is_active = False
        await house.clock.advance(LEAVING - 0.3)
        first.is_active = True
        await house.clock.advance(0.2)
        assert (first.slot, second.slot) == ((0, 2), (1, 2))

    assert first.repository.removed == []


async def test_who_hands_out_nothing_costs_nothing(house):
    process = house.process("a")
    process.is_active = False
    process.run()
    await house.clock.advance(60)

    assert process.repository.beats == 0
    assert process.repository.removed == []


async def test_a_process_is_there_again_as_soon_as_somebody_asks_for_tasks(house):
    (process,) = await house.running("a")
    process.is_active = False
    await house.clock.advance(LEAVING)
    assert house.signs.stored == {}

    process.is_active = True
    await house.clock.advance(0.2)

    assert house.signs.stored.keys() == {"a"}


async def test_leaving_twice_is_leaving_once(house):
    (process,) = await house.running("a")
    await process.die()

    await process.presence.leave()
    await process.presence.leave()

    assert process.repository.removed == ["a"]


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("error", [StoreUnavailableError("down"), StoreRejectedError("refused")])
async def test_while_the_store_fails_the_slot_stays_as_it_was(house, error):
    first, second = await house.running("a", "b")
    first.repository.error = second.repository.error = error
    await house.clock.advance(30)

    assert (first.slot, second.slot) == ((0, 2), (1, 2))
    first.repository.error = second.repository.error = None
    await house.clock.advance(2 * INTERVAL)

    assert (first.slot, second.slot) == ((0, 2), (1, 2))


async def test_a_store_that_fails_is_not_asked_more_often(house):
    (process,) = await house.running("a")
    process.repository.error = StoreUnavailableError("down")
    before = process.repository.beats

    await house.clock.advance(10 * INTERVAL)

    assert process.repository.beats - before == 10


async def test_who_can_not_say_that_it_leaves_has_left_all_the_same(house):
    first, second = await house.running("a", "b")
    first.repository.error = StoreUnavailableError("down")
    first.is_active = False
    await house.clock.advance(LEAVING)
    assert first.slot == (0, 1)

    await house.clock.advance(5 * INTERVAL)

    assert second.slot == (0, 1)
    assert not first.loop.done()


async def test_a_process_that_can_not_forget_another_keeps_its_slot(house):
    first, second = await house.running("a", "b")
    await first.die()

    async def fail(*_):
        raise StoreUnavailableError("down")

    second.repository.before_remove = fail
    await house.clock.advance(80)

    assert second.slot == (0, 1)
    assert not second.loop.done()
