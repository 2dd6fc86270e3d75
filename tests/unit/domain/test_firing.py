from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from factories import START, a_definition, a_recurring_task
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.firing import (
    MAX_AT_ONCE,
    MAX_MISSED,
    PATIENCE,
    decide,
    run_of,
)
from tasques.domain.recurring import MisfirePolicy, PendingTask
from tasques.domain.task import JsonText, TaskState

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
FIRE_ALL = MisfirePolicy.FIRE_ALL
FIRE_ONCE = MisfirePolicy.FIRE_ONCE
SKIP = MisfirePolicy.SKIP

policies = st.sampled_from(MisfirePolicy)
every_policy = pytest.mark.parametrize("policy", MisfirePolicy)


def judged(task, after, *, led_for=MINUTE * 60 * 24 * 365):
    """The decision at a time after `START`, by a server that has led for so long."""
    now = START + after
    return decide(task, now, leading_since=now - led_for)


def seconds(decision):
    """The instants of a decision, as seconds after `START`."""
    return [(instant - START) // SECOND for instant in decision.instants]


def every_second(**changes):
    return a_recurring_task(schedule_expression="* * * * * *", **changes)


# ------------------------------------------------------------------ on time


@every_policy
def test_an_instant_that_has_come_fires(policy):
    decision = judged(a_recurring_task(misfire_policy=policy), MINUTE + SECOND / 10)

    assert seconds(decision) == [60]
    assert decision.cursor == START + MINUTE


def test_an_instant_is_due_at_itself_and_not_before():
    task = a_recurring_task()

    assert judged(task, MINUTE - timedelta(microseconds=1)) is None
    assert seconds(judged(task, MINUTE)) == [60]


@every_policy
def test_a_leader_that_is_late_fires_each_instant(policy):
    assert seconds(judged(every_second(misfire_policy=policy), 4 * SECOND)) == [1, 2, 3, 4]


def test_what_was_dealt_with_is_not_due_again():
    task = every_second(last_instant=START + 3 * SECOND)

    assert seconds(judged(task, 5 * SECOND)) == [4, 5]


@pytest.mark.parametrize("member", ["paused", "is_deleted"])
def test_what_is_paused_or_deleted_does_not_fire(member):
    assert judged(every_second(**{member: True}), MINUTE) is None


def test_a_clock_that_was_put_back_fires_nothing():
    assert judged(every_second(last_instant=START + MINUTE), SECOND) is None


# ------------------------------------------------------------------ missed


def test_missed_instants_are_dropped_by_skip():
    decision = judged(a_recurring_task(misfire_policy=SKIP), 5 * MINUTE + 30 * SECOND)

    assert decision.instants == ()
    assert decision.cursor == START + 5 * MINUTE


def test_missed_instants_fire_once_for_all_with_fire_once():
    decision = judged(a_recurring_task(misfire_policy=FIRE_ONCE), 5 * MINUTE + 30 * SECOND)

    assert seconds(decision) == [300]
    assert decision.cursor == START + 5 * MINUTE


def test_missed_instants_fire_each_with_fire_all():
    decision = judged(a_recurring_task(misfire_policy=FIRE_ALL), 5 * MINUTE + 30 * SECOND)

    assert seconds(decision) == [60, 120, 180, 240, 300]


def test_an_instant_on_time_stands_for_those_that_were_missed():
    decision = judged(a_recurring_task(misfire_policy=FIRE_ONCE), 5 * MINUTE)

    assert seconds(decision) == [300]


def test_a_leader_may_be_late_for_a_while():
    assert seconds(judged(a_recurring_task(misfire_policy=SKIP), MINUTE + PATIENCE)) == [60]
    late = judged(a_recurring_task(misfire_policy=SKIP), MINUTE + PATIENCE + SECOND)
    assert late.instants == ()


def test_a_new_leader_has_missed_what_came_before_its_time():
    task = every_second(misfire_policy=SKIP)

    assert seconds(judged(task, 5 * SECOND, led_for=2 * SECOND)) == [3, 4, 5]


def test_an_instant_of_this_very_second_is_not_missed():
    task = a_recurring_task(misfire_policy=SKIP)

    assert seconds(judged(task, MINUTE + SECOND / 2, led_for=SECOND / 4)) == [60]


# ------------------------------------------------------------------ many missed


def caught_up(task, after):
    """All instants that decisions fire one after the other."""
    fired = []
    while decision := judged(task, after):
        assert len(decision.instants) <= MAX_AT_ONCE
        fired += seconds(decision)
        task = decision.taken(at=START + after).settle()
    return fired


def test_fire_all_reaches_so_many_instants_back():
    day = 24 * 3600
    fired = caught_up(every_second(misfire_policy=FIRE_ALL), timedelta(days=1))

    assert fired == list(range(day - MAX_MISSED + 1, day + 1))


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "* * 3 * * *",  # every second of an hour a day
        "* * 0 1 * *",  # ... a month
        "0 0 * * *",
        "@every 7s",
        "TZ=Europe/Berlin */20 1-3 * * *",
    ],
)
@pytest.mark.parametrize("days", [3, 45, 400])
def test_the_latest_missed_ones_are_found_among_very_many(expression, days):
    task = a_recurring_task(schedule_expression=expression, misfire_policy=FIRE_ALL)
    end = START + timedelta(days=days)

    fired = caught_up(task, timedelta(days=days))

    assert len(fired) <= MAX_MISSED
    instants = [START + each * SECOND for each in fired]
    last = instants[-1] if instants else START
    assert task.schedule.between(last, end, limit=1, anchor=START) == []
    for before, after in pairwise(instants):
        assert task.schedule.next_after(before, anchor=START) == after
    if len(instants) < MAX_MISSED:
        assert instants == task.due(end, limit=MAX_MISSED)


# ------------------------------------------------------------------ properties


@given(
    policies,
    st.sampled_from(["* * * * * *", "*/3 * * * * *", "* * * * *", "@every 5s"]),
    st.booleans(),
    st.lists(st.integers(0, 90_000), min_size=1, max_size=12),
    st.integers(0, 60),
)
def test_no_sequence_of_decisions_fires_an_instant_twice_or_loses_one(
    policy, expression, skips, pauses, led_for
):
    task = a_recurring_task(
        schedule_expression=expression,
        misfire_policy=policy,
        skip_if_outstanding_tasks_exist=skips,
    )
    now = START
    fired = []
    for pause in pauses:
        now += timedelta(milliseconds=pause)
        while decision := decide(task, now, leading_since=now - led_for * SECOND):
            fired += decision.instants
            assert task.due_after < decision.cursor <= now
            assert all(task.due_after < each <= decision.cursor for each in decision.instants)
            task = decision.taken(at=now)
            assert [each.instant for each in task.pending] == list(decision.instants)
            task = task.settle()

    assert fired == sorted(set(fired))
    due = task.schedule.between(START, now, limit=2000, anchor=START)
    assert set(fired) <= set(due)
    if policy is FIRE_ALL and not skips:
        assert fired == due
    if due and policy is FIRE_ONCE:
        assert due[-1] in fired


# ------------------------------------------------------------------ skip if outstanding


@every_policy
def test_what_skips_while_a_task_is_outstanding_enqueues_one_at_a_time(policy):
    task = every_second(misfire_policy=policy, skip_if_outstanding_tasks_exist=True)

    decision = judged(task, 4 * SECOND)

    assert seconds(decision) == [4]
    assert decision.cursor == START + 4 * SECOND


def test_a_skipped_instant_is_dealt_with():
    decision = judged(every_second(), 2 * SECOND).without_tasks()

    taken = decision.taken(at=START)

    assert taken.pending == ()
    assert taken.last_instant == START + 2 * SECOND
    assert taken.last_fired_at is None


# ------------------------------------------------------------------ the tasks


def test_a_decision_names_the_tasks_to_come():
    taken = judged(every_second(), 2 * SECOND).taken(at=START + MINUTE)

    assert [(each.queue, each.task_id, each.instant) for each in taken.pending] == [
        ("mail", "recurring-1@2026-03-01T12:00:01Z", START + SECOND),
        ("mail", "recurring-1@2026-03-01T12:00:02Z", START + 2 * SECOND),
    ]
    assert taken.last_fired_at == START + MINUTE
    assert taken.last_task_id == "recurring-1@2026-03-01T12:00:02Z"


def test_a_run_is_what_the_definition_says_in_the_queue_that_was_decided_on():
    definition = a_definition(
        queue="elsewhere", kind="k", priority=3, args=JsonText("[1]"), context=JsonText("{}")
    )
    task = a_recurring_task(definition=definition)
    pending = PendingTask(queue="mail", task_id=task.task_id(START), instant=START)

    run = run_of(task, pending, at=START + SECOND)

    assert (run.queue, run.id) == ("mail", "recurring-1@2026-03-01T12:00:00Z")
    assert (run.kind, run.priority, run.args, run.context) == ("k", 3, "[1]", "{}")
    assert run.state is TaskState.QUEUED
    assert run.run_at == run.scheduled_for == START
    assert run.recurring_task_id == task.id
    assert run.created_at == START + SECOND


def test_whoever_enqueues_a_run_enqueues_the_same():
    task = a_recurring_task()
    first, second = (
        PendingTask(queue="mail", task_id=task.task_id(instant), instant=instant)
        for instant in (START, START + SECOND)
    )

    marks = [
        run_of(task, each, at=at).incarnation
        for each, at in [(first, START), (first, START + MINUTE), (second, START)]
    ]

    assert marks[0] == marks[1] != marks[2]
    assert {len(mark) for mark in marks} == {22}
