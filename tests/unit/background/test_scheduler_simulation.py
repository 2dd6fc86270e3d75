"""Exactly once, whatever happens to servers and requests: drawn from seeds, on a fake clock.

TASQUES_TEST_SEEDS says how many sequences of calamities are lived through.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta

import pytest
from factories import START, a_definition, a_recurring_task
from simulation import ARCHIVED_AFTER, MAX_SKEW, World

from tasques.domain.recurring import MisfirePolicy

SECOND = timedelta(seconds=1)
SEEDS = range(int(os.environ.get("TASQUES_TEST_SEEDS", "3")))
CALAMITIES = 15
FIRST = 5.0  # seconds in which a server leads in peace


def every_second(name, **changes):
    return a_recurring_task(id=name, schedule_expression="* * * * * *", **changes)


async def calamity(world, leader):
    """Let something happen to the leader; returns its successor."""
    random = world.random
    kind = random.choice(("kill", "resign", "freeze", "overlap", "gap", "night"))
    if kind in ("kill", "night"):
        await leader.kill()
    elif kind == "freeze":
        leader.is_frozen = True
    elif kind != "overlap":
        leader.believes_to_lead = False
    if kind in ("gap", "freeze"):
        await live(world, random.uniform(0, 4))
    elif kind == "night":  # what was created but not settled is archived meanwhile
        await live(world, ARCHIVED_AFTER + 5)
    successor = await world.lead(skew=random.choice((0.0, -MAX_SKEW, MAX_SKEW)))
    if kind in ("freeze", "overlap"):
        await live(world, random.uniform(0, 3))
        leader.is_frozen = False
        if kind == "overlap":  # a lease that is no good
            await live(world, random.uniform(0, 3))
        leader.believes_to_lead = False
    return successor


async def live(world, seconds):
    """Let time pass, in which workers work and the archiver archives."""
    end = world.clock.monotonic() + seconds
    while (left := end - world.clock.monotonic()) > 1e-6:
        await world.clock.advance(min(left, 0.3))
        world.work()


async def lived_through(world, client):
    """A sequence of calamities, and peace after it; returns the seconds that have passed."""
    leader = await world.lead()
    leader.is_reliable = True
    await live(world, FIRST)
    leader.is_reliable = False
    for _ in range(CALAMITIES):
        leader = await calamity(world, leader)
        await live(world, world.random.uniform(0, 4))
        await client()
    leader.believes_to_lead = False
    last = await world.lead()
    last.is_reliable = True
    await live(world, 20)
    await world.end()
    return int(world.clock.monotonic())


def fired(world, name):
    """How often each second after `START` fired."""
    return Counter(
        (task.scheduled_for - START) // SECOND
        for task in world.tasks.created
        if task.recurring_task_id == name
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_instant_is_fired_once_through_calamities(seed):
    world = World(seed)
    for policy in MisfirePolicy:
        world.recurring.store(every_second(policy.value, misfire_policy=policy))
    world.recurring.store(
        every_second(
            "careful", misfire_policy=MisfirePolicy.FIRE_ALL, skip_if_outstanding_tasks_exist=True
        )
    )

    async def move_to_another_queue():
        name = world.random.choice(("fire_all", "fire_once", "careful"))
        definition = a_definition(queue=world.random.choice(("mail", "post")))
        await world.change(name, definition=definition)

    end = await lived_through(world, move_to_another_queue)

    everything = set(range(1, end - 2))
    assert everything <= set(fired(world, "fire_all"))
    for name in ("fire_all", "fire_once", "skip", "careful"):
        assert set(fired(world, name).values()) == {1}, name
    # Nothing is missed while a leader leads in peace.
    for name in ("fire_once", "skip"):
        assert everything & set(range(1, 4)) <= set(fired(world, name))
        assert set(range(end - 8, end - 2)) <= set(fired(world, name))
    assert [one for one, _ in world.tasks.beside if one.recurring_task_id == "careful"] == []
    assert all(task.pending == () for task in world.recurring.stored)


@pytest.mark.parametrize("seed", SEEDS)
async def test_pauses_and_new_schedules_rule_through_calamities(seed):
    world = World(seed)
    world.recurring.store(every_second("paused", misfire_policy=MisfirePolicy.FIRE_ALL))
    world.recurring.store(every_second("changed", misfire_policy=MisfirePolicy.FIRE_ALL))
    quiet = []

    async def rest():
        now = world.clock.monotonic
        await world.change("paused", paused=True)
        began = now()
        odd = world.random.choice(("* * * * * *", "1-59/2 * * * * *"))
        await world.change("changed", schedule_expression=odd)
        await live(world, world.random.uniform(0, 6))
        quiet.append((began + MAX_SKEW, now()))
        await world.change("paused", paused=False)

    end = await lived_through(world, rest)

    for name in ("paused", "changed"):
        assert set(fired(world, name).values()) == {1}, name
    for began, ended in quiet:
        assert not [each for each in fired(world, "paused") if began < each <= ended]
    assert set(range(end - 8, end - 2)) <= set(fired(world, "paused"))
