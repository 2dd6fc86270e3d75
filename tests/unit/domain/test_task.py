from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import pytest
from factories import START, a_claimed_task, a_new_task, a_task

from tasques.domain.errors import (
    NotClaimedError,
    NotOwnedByWorkerError,
    ReportFromThePastError,
    UnclaimableError,
)
from tasques.domain.task import (
    TIMED_OUT,
    Claim,
    JsonText,
    Report,
    Result,
    Task,
    TaskState,
    Version,
)

NOW: Final = START + timedelta(minutes=5)
RETRY_AT: Final = START + timedelta(hours=2)
TIMEOUT: Final = timedelta(minutes=30)
SECOND: Final = timedelta(seconds=1)

Move = Callable[[Task], Task]


def claimed_by(worker_id: str, task: Task) -> Task:
    return task.claim(worker_id=worker_id, at=START, claim_id="claim-1")


def a_failed_task() -> Task:
    return failed(a_claimed_task())


def failed(task: Task) -> Task:
    return task.fail(worker_id="worker-1", at=START, failure=None, retry_at=RETRY_AT)


def in_every_state() -> dict[TaskState, Task]:
    claimed = a_claimed_task()
    return {
        TaskState.QUEUED: a_task(),
        TaskState.CLAIMED: claimed,
        TaskState.FAILED: failed(claimed),
        TaskState.DONE: claimed.complete(worker_id="worker-1", at=START, success=None),
        TaskState.DEAD: failed(a_claimed_task(retry_times=0)),
    }


def moves_of(worker_id: str) -> dict[str, Move]:
    return {
        "report": lambda task: task.report(worker_id=worker_id, at=NOW, data=None),
        "complete": lambda task: task.complete(worker_id=worker_id, at=NOW, success=None),
        "fail": lambda task: task.fail(
            worker_id=worker_id, at=NOW, failure=None, retry_at=RETRY_AT
        ),
        "unclaim": lambda task: task.unclaim(worker_id=worker_id, at=NOW),
    }


OF_THE_OWNER: Final = moves_of("worker-1")
OF_A_STRANGER: Final = moves_of("worker-2")
NOT_CLAIMED: Final = sorted(set(TaskState) - {TaskState.CLAIMED})


def changed(before: Task, after: Task) -> set[str]:
    """The names of the members that a move changed."""
    return {member for member in Task._fields if getattr(before, member) != getattr(after, member)}


def with_everything_kept() -> Task:
    """A claimed task whose members, which no move may touch, all have a value."""
    return a_claimed_task(
        args=JsonText('{"to":"a"}'),
        context=JsonText('{"trace":"b"}'),
        recurring_task_id="nightly",
        scheduled_for=START,
        traceparent="00-1-2-01",
        version=Version(7, 2),
        unknown_members=MappingProxyType({"colour": "blue"}),
        unknown_metadata=MappingProxyType({"colour": "red"}),
        priority=-3,
    )


# ------------------------------------------------------------------ the words of the states


def test_states_are_written_as_their_words():
    assert {state.name: str(state) for state in TaskState} == {
        "QUEUED": "queued",
        "CLAIMED": "claimed",
        "FAILED": "failed",
        "DONE": "done",
        "DEAD": "dead",
    }


@pytest.mark.parametrize("word", ["queued", "claimed", "failed", "done", "dead"])
def test_states_are_read_from_their_words(word):
    assert TaskState(word).value == word


@pytest.mark.parametrize("word", ["", "Queued", "DONE", "scheduled", " dead"])
def test_other_words_are_no_states(word):
    with pytest.raises(ValueError, match="is not a valid TaskState"):
        TaskState(word)


# ------------------------------------------------------------------ enqueue


def test_an_enqueued_task_waits_with_all_its_attempts():
    run_at = START + timedelta(days=3)

    task = Task.enqueue(
        a_new_task(
            id="t",
            queue="q",
            kind="k",
            priority=-5,
            retry_times=2,
            processing_timeout=timedelta(seconds=9),
            run_at=run_at,
            args=JsonText('{"a":1}'),
            context=JsonText('{"c":2}'),
            recurring_task_id="nightly",
            scheduled_for=START,
            traceparent="00-1-2-01",
        ),
        at=NOW,
        incarnation="mark",
    )

    assert task == Task(
        id="t",
        queue="q",
        kind="k",
        state=TaskState.QUEUED,
        priority=-5,
        retry_times=2,
        attempted=0,
        processing_timeout=timedelta(seconds=9),
        run_at=run_at,
        last_enqueued_at=NOW,
        created_at=NOW,
        modified_at=NOW,
        incarnation="mark",
        args=JsonText('{"a":1}'),
        context=JsonText('{"c":2}'),
        last_claimed=None,
        recurring_task_id="nightly",
        scheduled_for=START,
        traceparent="00-1-2-01",
        version=None,
        unknown_members={},
    )


def test_a_task_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        a_task().state = TaskState.DONE


# ------------------------------------------------------------------ counters


@pytest.mark.parametrize(
    ("retry_times", "attempted", "remaining"),
    [
        (0, 0, 1),
        (0, 1, 0),
        (0, 10, 0),
        (10, 0, 11),
        (10, 5, 6),
        (10, 10, 1),
        (10, 11, 0),
        (10, 12, 0),
        (2**31 - 1, 0, 2**31),
    ],
)
def test_the_attempts_that_remain_are_the_first_and_the_retries_less_those_made(
    retry_times, attempted, remaining
):
    task = a_task(retry_times=retry_times, attempted=attempted)

    assert task.remaining_attempts == remaining


@pytest.mark.parametrize(("attempted", "retries"), [(0, 0), (1, 0), (2, 1), (26, 25)])
def test_every_attempt_but_the_first_is_a_retry(attempted, retries):
    assert a_task(attempted=attempted).retries == retries


@pytest.mark.parametrize("state", sorted(TaskState))
@pytest.mark.parametrize(("attempted", "attempts_left"), [(0, True), (3, True), (4, False)])
def test_only_queued_and_failed_tasks_with_attempts_left_are_claimable(
    state, attempted, attempts_left
):
    task = a_task(state=state, retry_times=3, attempted=attempted)

    claimable = state in {TaskState.QUEUED, TaskState.FAILED} and attempts_left
    assert task.is_claimable is claimable
    assert task.is_due(START) is claimable


def test_a_task_is_due_from_its_run_at_on():
    task = a_task(run_at=START)

    assert not task.is_due(START - timedelta(microseconds=1))
    assert task.is_due(START)
    assert task.is_due(START + timedelta(days=9000))


def test_a_run_at_of_another_zone_is_compared_as_an_instant():
    task = a_task(run_at=datetime.fromisoformat("2026-03-01T21:00:00+09:00"))

    assert task.run_at == START
    assert task.is_due(START)
    assert not task.is_due(START - SECOND)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"])
def test_the_first_instants_of_all_can_be_compared(text):
    assert a_task(run_at=datetime.fromisoformat(text)).is_due(START)


@pytest.mark.parametrize("retry_times", [0, 1, 25])
def test_a_task_with_retries_has_one_attempt_more_than_retries_and_then_is_dead(retry_times):
    task = a_task(retry_times=retry_times)
    states = []

    while task.is_claimable:
        task = failed(claimed_by("worker-1", task))
        states.append(task.state)

    assert states == [TaskState.FAILED] * retry_times + [TaskState.DEAD]
    assert task.attempted == retry_times + 1
    assert task.remaining_attempts == 0
    with pytest.raises(UnclaimableError):
        claimed_by("worker-1", task)


# ------------------------------------------------------------------ which move from which state


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.FAILED])
def test_queued_and_failed_tasks_can_be_claimed(state):
    task = in_every_state()[state]

    assert claimed_by("worker-2", task).state is TaskState.CLAIMED


@pytest.mark.parametrize("state", [TaskState.CLAIMED, TaskState.DONE, TaskState.DEAD])
@pytest.mark.parametrize("worker_id", ["worker-1", "worker-2"])
def test_other_tasks_cannot_be_claimed(state, worker_id):
    task = in_every_state()[state]

    with pytest.raises(UnclaimableError, match=f"'task-1' in queue 'mail'.*it is {state}"):
        claimed_by(worker_id, task)


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.FAILED])
def test_a_waiting_task_that_is_out_of_attempts_cannot_be_claimed(state):
    task = a_task(state=state, retry_times=2, attempted=3)

    with pytest.raises(UnclaimableError):
        claimed_by("worker-1", task)


@pytest.mark.parametrize(
    ("move", "state"),
    [
        ("report", TaskState.CLAIMED),
        ("complete", TaskState.DONE),
        ("fail", TaskState.FAILED),
        ("unclaim", TaskState.QUEUED),
    ],
)
def test_the_owner_of_a_claimed_task_makes_every_move(move, state):
    assert OF_THE_OWNER[move](a_claimed_task()).state is state


@pytest.mark.parametrize("move", sorted(OF_A_STRANGER))
def test_nobody_but_the_owner_makes_a_move(move):
    with pytest.raises(
        NotOwnedByWorkerError, match=r"'task-1' in queue 'mail'.*worker 'worker-2'"
    ) as caught:
        OF_A_STRANGER[move](a_claimed_task())

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    assert caught.value.worker_id == "worker-2"


@pytest.mark.parametrize("worker_id", ["", "Worker-1", "worker-1 ", "worker-"])
def test_worker_ids_are_compared_exactly(worker_id):
    for move in moves_of(worker_id).values():
        with pytest.raises(NotOwnedByWorkerError):
            move(a_claimed_task())


@pytest.mark.parametrize("state", NOT_CLAIMED)
@pytest.mark.parametrize("move", sorted(OF_THE_OWNER))
@pytest.mark.parametrize("moves", [OF_THE_OWNER, OF_A_STRANGER], ids=["owner", "stranger"])
def test_a_task_that_is_not_claimed_refuses_for_that_reason_whoever_asks(moves, move, state):
    task = in_every_state()[state]

    with pytest.raises(
        NotClaimedError, match=f"'task-1' in queue 'mail' is not claimed: it is {state}"
    ) as caught:
        moves[move](task)

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    assert caught.value.state == state


@pytest.mark.parametrize("state", NOT_CLAIMED)
def test_only_a_claimed_task_times_out(state):
    with pytest.raises(NotClaimedError):
        in_every_state()[state].time_out(at=NOW, retry_at=RETRY_AT)


def test_a_claimed_task_without_a_claim_refuses_every_move():
    task = a_claimed_task(last_claimed=None)

    for move in OF_THE_OWNER.values():
        with pytest.raises(NotClaimedError):
            move(task)
    with pytest.raises(NotClaimedError):
        task.time_out(at=NOW, retry_at=RETRY_AT)


# ------------------------------------------------------------------ claim


def test_a_claim_names_the_worker_and_counts_the_attempt():
    before = a_task(attempted=1)

    after = before.claim(worker_id="worker-9", at=NOW, claim_id="mark")

    assert changed(before, after) == {"state", "attempted", "last_claimed", "modified_at"}
    assert after.attempted == 2
    assert after.modified_at == NOW
    assert after.last_claimed == Claim(
        worker_id="worker-9",
        claimed_at=NOW,
        times_out_at=NOW + TIMEOUT,
        claim_id="mark",
        last_report=None,
        result=None,
        wait_ms=300_000,
    )


def test_a_claim_leaves_nothing_of_the_claim_before():
    reported = a_claimed_task().report(worker_id="worker-1", at=NOW, data=JsonText('{"at":1}'))
    before = reported.fail(
        worker_id="worker-1", at=NOW, failure=JsonText('{"e":1}'), retry_at=RETRY_AT
    )

    after = before.claim(worker_id="worker-2", at=RETRY_AT, claim_id="claim-2")

    assert after.last_claimed == Claim(
        worker_id="worker-2",
        claimed_at=RETRY_AT,
        times_out_at=RETRY_AT + TIMEOUT,
        claim_id="claim-2",
        wait_ms=0,
    )
    assert after.run_at == RETRY_AT
    assert after.last_enqueued_at == NOW
    assert after.attempted == 2


@pytest.mark.parametrize("timeout", [timedelta(0), -TIMEOUT])
def test_a_claim_without_time_is_over_at_once(timeout):
    task = claimed_by("worker-1", a_task(processing_timeout=timeout))

    assert task.last_claimed.times_out_at == START + timeout


def test_the_longest_duration_can_be_a_processing_timeout():
    longest = timedelta(microseconds=(2**63 - 1) // 1000)

    task = claimed_by("worker-1", a_task(processing_timeout=longest))

    assert task.last_claimed.times_out_at == START + longest


# ------------------------------------------------------------------ report


def test_a_report_is_kept_and_starts_the_time_out_anew():
    before = with_everything_kept()

    after = before.report(worker_id="worker-1", at=NOW, data=JsonText('{"percent":30}'))

    assert changed(before, after) == {"last_claimed", "modified_at"}
    assert after.modified_at == NOW
    assert after.last_claimed == before.last_claimed._replace(
        last_report=Report(at=NOW, data=JsonText('{"percent":30}')),
        times_out_at=NOW + TIMEOUT,
    )


def test_a_report_replaces_the_one_before_with_its_data():
    first = a_claimed_task().report(worker_id="worker-1", at=START, data=JsonText('{"a":1}'))

    second = first.report(worker_id="worker-1", at=NOW, data=None)

    assert second.last_claimed.last_report == Report(at=NOW, data=None)


@pytest.mark.parametrize("earlier_by", [timedelta(0), SECOND, timedelta(minutes=1)])
def test_a_report_of_a_clock_that_is_a_little_behind_is_dated_like_the_stored_one(earlier_by):
    stored = a_claimed_task().report(worker_id="worker-1", at=NOW, data=JsonText('{"a":1}'))

    after = stored.report(worker_id="worker-1", at=NOW - earlier_by, data=JsonText('{"b":2}'))

    assert after.last_claimed.last_report == Report(at=NOW, data=JsonText('{"b":2}'))
    assert after.last_claimed.times_out_at == NOW + TIMEOUT
    assert after.modified_at == NOW


@pytest.mark.parametrize("more", [timedelta(microseconds=1), timedelta(days=1)])
def test_a_report_that_is_more_than_a_minute_older_is_refused(more):
    stored = a_claimed_task().report(worker_id="worker-1", at=NOW, data=None)

    with pytest.raises(
        ReportFromThePastError, match=r"'task-1' in queue 'mail'.*2026-03-01T12:05:00"
    ) as caught:
        stored.report(worker_id="worker-1", at=NOW - timedelta(minutes=1) - more, data=None)

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    assert caught.value.stored_at == NOW


def test_whose_task_it_is_matters_before_how_old_the_report_is():
    stored = a_claimed_task().report(worker_id="worker-1", at=NOW, data=None)

    with pytest.raises(NotOwnedByWorkerError):
        stored.report(worker_id="worker-2", at=NOW - timedelta(days=1), data=None)


def test_whether_it_is_claimed_matters_before_how_old_the_report_is():
    stored = a_claimed_task().report(worker_id="worker-1", at=NOW, data=None)
    done = stored.complete(worker_id="worker-1", at=NOW, success=None)

    with pytest.raises(NotClaimedError):
        done.report(worker_id="worker-1", at=NOW - timedelta(days=1), data=None)


@pytest.mark.parametrize("move", sorted(OF_THE_OWNER))
def test_an_overdue_claim_is_still_its_workers_until_it_is_timed_out(move):
    task = a_claimed_task(processing_timeout=SECOND)

    assert task.last_claimed.claimed_at + task.processing_timeout < NOW
    assert OF_THE_OWNER[move](task).modified_at == NOW


# ------------------------------------------------------------------ complete


@pytest.mark.parametrize("success", [None, JsonText('{"sent":3}')])
def test_a_completed_task_is_done_with_its_result(success):
    before = with_everything_kept().report(worker_id="worker-1", at=START, data=None)

    after = before.complete(worker_id="worker-1", at=NOW, success=success)

    assert changed(before, after) == {"state", "last_claimed", "modified_at"}
    assert after.state is TaskState.DONE
    assert after.modified_at == NOW
    assert after.last_claimed == before.last_claimed._replace(
        result=Result(at=NOW, success=success, failure=None)
    )


# ------------------------------------------------------------------ fail


@pytest.mark.parametrize("attempted", [1, 5, 10])
def test_a_failed_task_with_attempts_left_runs_again_later(attempted):
    before = with_everything_kept()._replace(retry_times=10, attempted=attempted)

    after = before.fail(
        worker_id="worker-1", at=NOW, failure=JsonText('{"e":1}'), retry_at=RETRY_AT
    )

    assert changed(before, after) == {
        "state",
        "run_at",
        "last_enqueued_at",
        "last_claimed",
        "modified_at",
    }
    assert after.state is TaskState.FAILED
    assert after.run_at == RETRY_AT
    assert after.last_enqueued_at == NOW
    assert after.modified_at == NOW
    assert after.remaining_attempts == 11 - attempted
    assert after.last_claimed == before.last_claimed._replace(
        result=Result(at=NOW, failure=JsonText('{"e":1}'), success=None)
    )


@pytest.mark.parametrize("attempted", [11, 12])
def test_a_failed_task_without_attempts_left_is_dead(attempted):
    before = with_everything_kept()._replace(retry_times=10, attempted=attempted)

    after = before.fail(worker_id="worker-1", at=NOW, failure=None, retry_at=RETRY_AT)

    assert changed(before, after) == {"state", "last_claimed", "modified_at"}
    assert after.state is TaskState.DEAD
    assert after.modified_at == NOW
    assert after.last_claimed.result == Result(at=NOW, failure=None, success=None)


# ------------------------------------------------------------------ unclaim


def test_an_unclaimed_task_is_queued_and_the_attempt_does_not_count():
    before = with_everything_kept().report(worker_id="worker-1", at=START, data=None)

    after = before.unclaim(worker_id="worker-1", at=NOW)

    assert changed(before, after) == {"state", "attempted", "last_enqueued_at", "modified_at"}
    assert after.state is TaskState.QUEUED
    assert after.attempted == 0
    assert after.last_enqueued_at == NOW
    assert after.modified_at == NOW
    assert after.last_claimed.worker_id == "worker-1"
    assert after.is_due(NOW)


def test_a_task_on_its_last_attempt_can_be_had_again_after_an_unclaim():
    task = a_claimed_task(retry_times=0).unclaim(worker_id="worker-1", at=NOW)

    assert claimed_by("worker-2", task).last_claimed.worker_id == "worker-2"


def test_the_worker_that_unclaimed_a_task_does_not_own_it_any_more():
    task = a_claimed_task().unclaim(worker_id="worker-1", at=NOW)

    with pytest.raises(NotClaimedError):
        task.complete(worker_id="worker-1", at=NOW, success=None)


# ------------------------------------------------------------------ time_out


def test_a_task_that_times_out_fails_on_behalf_of_its_worker():
    task = a_claimed_task().report(worker_id="worker-1", at=START, data=None)

    assert task.time_out(at=NOW, retry_at=RETRY_AT) == task.fail(
        worker_id="worker-1", at=NOW, failure=TIMED_OUT, retry_at=RETRY_AT
    )


def test_a_task_that_times_out_in_its_last_attempt_is_dead():
    after = a_claimed_task(retry_times=0).time_out(at=NOW, retry_at=RETRY_AT)

    assert after.state is TaskState.DEAD
    assert after.last_claimed.result == Result(at=NOW, failure=TIMED_OUT)
    assert after.run_at == START


def test_the_failure_of_a_time_out_is_an_object_with_one_text():
    (name, text) = next(iter(json.loads(TIMED_OUT).items()))

    assert len(json.loads(TIMED_OUT)) == 1
    assert name == "timed_out"
    assert "timeout" in text
    assert "\n" not in TIMED_OUT


def test_a_worker_that_was_timed_out_and_claimed_again_owns_the_new_attempt_only():
    timed_out = a_claimed_task().time_out(at=NOW, retry_at=NOW)
    taken = timed_out.claim(worker_id="worker-2", at=NOW, claim_id="claim-2")

    with pytest.raises(NotOwnedByWorkerError):
        taken.report(worker_id="worker-1", at=NOW, data=None)


def test_a_claim_notes_how_long_anybody_could_have_had_the_task():
    later = START + timedelta(seconds=10)
    scheduled = a_task(run_at=START + timedelta(seconds=4))
    overdue = a_task(run_at=START - timedelta(days=1))

    def wait(task, at):
        return task.claim(worker_id="w", at=at, claim_id="c").last_claimed.wait_ms

    assert wait(scheduled, later) == 6000
    assert wait(overdue, later) == 10_000  # it has been there for no longer
    assert wait(scheduled, START) == 0  # by the clock of another server
