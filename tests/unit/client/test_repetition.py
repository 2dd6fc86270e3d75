"""When requests are sent again, and what is believed of the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from driving import LOST, UNSENT, Driver, answer, refusal

from tasques.client import (
    AlreadyExistsError,
    BatchError,
    ConflictError,
    InvalidRequestError,
    NewRecurringTask,
    NewTask,
    NoAnswerError,
    NotAuthenticatedError,
    NotClaimedError,
    NotFoundError,
    NotOwnedByWorkerError,
    ServerError,
    TaskDefinition,
    TaskResult,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from tasques.client.batch_calls import MAX_BYTES, BatchCalls
from tasques.client.calls import TaskCalls
from tasques.client.exchange import Answer, Request
from tasques.client.recurring_calls import RecurringTaskCalls
from tasques.client.wire import read_task

AT = "2030-01-02T03:04:05.06Z"
METADATA = {"created_at": AT, "modified_at": AT, "version": {"seq_num": 1, "primary_term": 1}}
CLAIM = {"worker_id": "w", "claimed_at": AT, "times_out_at": AT, "claim_id": "c-1"}
RECURRING = {
    "id": "nightly",
    "schedule_expression": "@daily",
    "skip_if_outstanding_tasks_exist": False,
    "task_definition": {
        "queue": "q",
        "kind": "k",
        "retry_times": 25,
        "priority": 0,
        "processing_timeout": "30m0s",
    },
    "metadata": METADATA,
    "paused": False,
    "misfire_policy": "fire_once",
    "next_fire_at": None,
}
NIGHTLY = NewRecurringTask("nightly", "@daily", TaskDefinition("q", "k"))
EXISTS = refusal(409, "task_already_exists")
NOT_CLAIMED = refusal(400, "not_claimed")


def a_task(**members):
    """A task on the wire."""
    return {
        "id": "1",
        "queue": "q",
        "kind": "k",
        "state": "queued",
        "priority": 0,
        "retry_times": 25,
        "attempted": 0,
        "processing_timeout": "30m0s",
        "run_at": AT,
        "last_enqueued_at": AT,
        "metadata": METADATA,
    } | members


def a_claimed_task(**members):
    return read_task(a_task(state="claimed", last_claimed=CLAIM) | members)


def finished(state, claim=CLAIM, **result):
    return answer(200, a_task(state=state, last_claimed=claim | {"result": {"at": AT} | result}))


def stored(request):
    """The answer to a create: the task that was sent."""
    return answer(201, a_task(**json.loads(request.body)))


def stored_all(request):
    items = json.loads(request.body)["tasks"]
    return answer(200, {"items": [{"status": 201, "task": a_task(**each)} for each in items]})


def tasks(driver):
    return TaskCalls(driver.exchange, lambda: "made")


def batches(driver):
    return BatchCalls(driver.exchange, tasks(driver))


def recurring_tasks(driver):
    return RecurringTaskCalls(driver.exchange, lambda: "key")


# -------------------------------------------------------------------- repetition


@pytest.mark.parametrize(
    "failure",
    [LOST, UNSENT, *(answer(status) for status in (429, 502, 503, 504)), Answer(502, b"<html>")],
)
def test_what_may_pass_is_tried_again(failure):
    driver = Driver(failure, failure, answer(200, a_task()))

    assert driver.run(tasks(driver).get("q", "1")).id == "1"

    assert len(driver.pauses) == 2


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_request", InvalidRequestError),
        (401, "not_authenticated", NotAuthenticatedError),
        (403, "not_owned_by_worker", NotOwnedByWorkerError),
        (404, "task_not_found", NotFoundError),
        (409, "version_conflict", ConflictError),
        (413, "too_large", TooLargeError),
        (418, "teapot", ServerError),
        (500, "internal_error", ServerError),
    ],
)
def test_what_will_not_pass_is_raised_at_once(status, code, error):
    driver = Driver(refusal(status, code))

    with pytest.raises(error, match=code) as raised:
        driver.run(tasks(driver).get("q", "1"))

    assert type(raised.value) is error
    assert (raised.value.status, raised.value.code) == (status, code)
    assert not driver.pauses


def test_pauses_are_random_and_grow():
    driver = Driver(*[UNSENT] * 9, answer(200, a_task()), timeout=1000)

    driver.run(tasks(driver).get("q", "1"))

    limits = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert all(0 <= pause <= most for pause, most in zip(driver.pauses, limits, strict=True))
    assert len(set(driver.pauses)) == 9


def test_a_server_that_names_a_time_is_not_asked_before():
    driver = Driver(refusal(503, "overloaded", "4"), answer(200, a_task()))

    driver.run(tasks(driver).get("q", "1"))

    assert 4 <= driver.pauses[0] <= 4.1


def test_a_call_ends_in_time():
    """The last error is raised when another try would begin after the deadline."""
    driver = Driver(*[LOST] * 3, timeout=25.0)

    with pytest.raises(NoAnswerError):
        driver.run(tasks(driver).get("q", "1"))

    assert driver.now <= 25.0
    assert driver.requests[-1].timeout < 5.1


def test_a_claim_may_take_as_long_as_it_blocks():
    driver = Driver(answer(200, []))

    driver.run(tasks(driver).claim(["q"], "w", 5, timedelta(seconds=20)))

    assert driver.requests[0].timeout == 30.0
    assert driver.bodies == [{"queues": ["q"], "amount": 5, "block_for": "20.000000s"}]


@pytest.mark.parametrize("said", [b"<html>", b"[]", b'{"id": 1}', b"null"])
def test_another_server_is_noticed(said):
    driver = Driver(Answer(200, said))

    with pytest.raises(UnexpectedAnswerError):
        driver.run(tasks(driver).get("q", "1"))


# -------------------------------------------------------------------- creates


def test_a_create_without_an_id_gets_one():
    driver = Driver(LOST, stored)

    assert driver.run(tasks(driver).enqueue(NewTask("q", "k"))).id == "made"

    assert driver.bodies == [{"queue": "q", "kind": "k", "id": "made"}] * 2


@pytest.mark.parametrize(
    "failure", [LOST, answer(504), refusal(503, "outcome_unknown"), Answer(502, b"")]
)
def test_a_create_whose_answer_was_lost_is_found_again(failure):
    new = NewTask(
        "q",
        "k",
        {"big": 2**70, "list": [1.5]},
        id="1",
        run_at=datetime.fromisoformat(AT),
        processing_timeout=timedelta(minutes=30),
    )
    there = a_task(args={"big": 2**70, "list": [1.5]}, state="done")
    driver = Driver(failure, EXISTS, answer(200, there))

    assert driver.run(tasks(driver).enqueue(new)).state == "done"


@pytest.mark.parametrize("other", [{"kind": "other"}, {"args": {"a": 2}}, {"priority": 1}])
def test_the_task_of_somebody_else_is_not_taken_for_ours(other):
    new = NewTask("q", "k", {"a": 1}, id="1", priority=0)
    driver = Driver(LOST, EXISTS, answer(200, a_task(args={"a": 1}) | other))

    with pytest.raises(AlreadyExistsError):
        driver.run(tasks(driver).enqueue(new))


@pytest.mark.parametrize("failures", [[], [UNSENT], [refusal(503, "overloaded")]])
def test_an_id_that_was_taken_before_is_a_conflict(failures):
    """Where no try of ours can have arrived, the same content proves nothing."""
    driver = Driver(*failures, EXISTS)

    with pytest.raises(AlreadyExistsError):
        driver.run(tasks(driver).enqueue(NewTask("q", "k", id="1")))


def test_instants_need_a_time_zone():
    driver = Driver()

    with pytest.raises(ValueError, match="time zone"):
        driver.run(tasks(driver).enqueue(NewTask("q", "k", run_at=datetime(2030, 1, 1))))


# -------------------------------------------------------------------- waiting


def test_waiting_ends_with_the_task():
    driver = Driver(*[answer(200, a_task())] * 3, answer(200, a_task(state="dead")))

    call = tasks(driver).wait("q", "1", 60.0, lambda: driver.now)

    assert driver.run(call).state == "dead"


def test_waiting_ends_in_time():
    driver = Driver(*[answer(200, a_task(state="failed"))] * 10)

    with pytest.raises(WaitTimeoutError) as raised:
        driver.run(tasks(driver).wait("q", "1", 5.0, lambda: driver.now))

    assert driver.now == pytest.approx(5.0)
    assert raised.value.task.state == "failed"


# -------------------------------------------------------------------- ends of attempts


@pytest.mark.parametrize("refused", [NOT_CLAIMED, refusal(404, "task_not_found")])
def test_the_own_earlier_success_is_recognised(refused):
    driver = Driver(LOST, refused, finished("done", success={"a": 1}))

    call = tasks(driver).finish(a_claimed_task(), "done", {"a": 1})

    assert driver.run(call).state == "done"


@pytest.mark.parametrize("state", ["failed", "dead"])
def test_the_own_earlier_failure_is_recognised(state):
    driver = Driver(NOT_CLAIMED, finished(state, failure={"type": "X"}))

    call = tasks(driver).finish(a_claimed_task(), "failed", {"type": "X"})

    assert driver.run(call).state == state


@pytest.mark.parametrize(
    "there",
    [
        finished("failed", failure={"timed_out": "..."}),
        finished("done", CLAIM | {"claim_id": "c-2"}),
        finished("done", CLAIM | {"worker_id": "v"}),
        finished("queued"),
        answer(200, a_task()),
        refusal(404, "task_not_found"),
    ],
)
@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_a_lost_claim_is_not_taken_for_a_success(there, outcome):
    driver = Driver(NOT_CLAIMED, there)

    with pytest.raises(NotClaimedError):
        driver.run(tasks(driver).finish(a_claimed_task(), outcome, {"type": "X"}))


def test_giving_back_twice_is_no_error():
    driver = Driver(LOST, NOT_CLAIMED, answer(200, a_task(last_claimed=CLAIM)))

    assert driver.run(tasks(driver).unclaim(a_claimed_task())).state == "queued"


def test_giving_back_what_another_holds_is_an_error():
    theirs = a_task(last_claimed=CLAIM | {"claim_id": "c-2"}, state="claimed")
    driver = Driver(refusal(403, "not_owned_by_worker"), answer(200, theirs))

    with pytest.raises(NotOwnedByWorkerError):
        driver.run(tasks(driver).unclaim(a_claimed_task()))


def test_a_task_that_nobody_claimed_can_not_be_finished():
    driver = Driver()

    with pytest.raises(ValueError, match="never claimed"):
        driver.run(tasks(driver).finish(read_task(a_task()), "done", None))


# -------------------------------------------------------------------- batches


def test_a_batch_is_cut_by_number():
    driver = Driver(stored_all, stored_all, stored_all)

    created = driver.run(batches(driver).enqueue_many([NewTask("q", "k")] * 2001))

    assert [len(body["tasks"]) for body in driver.bodies] == [1000, 1000, 1]
    assert len(created) == 2001


def test_a_batch_is_cut_by_size():
    big = NewTask("q", "k", {"text": "x" * (MAX_BYTES // 3)})
    driver = Driver(stored_all, stored_all, stored_all)

    driver.run(batches(driver).enqueue_many([big] * 5))

    assert [len(body["tasks"]) for body in driver.bodies] == [2, 2, 1]
    assert all(len(request.body) < MAX_BYTES + 1000 for request in driver.requests)


def test_a_batch_that_is_too_large_is_halved_until_the_culprit_is_alone():
    new = [NewTask("q", "k", {"size": size}) for size in (1, 99, 1)]

    def limited(request: Request):
        sizes = [each["args"]["size"] for each in json.loads(request.body)["tasks"]]
        return refusal(413, "too_large") if sum(sizes) > 50 else stored_all(request)

    driver = Driver(*[limited] * 5)

    with pytest.raises(BatchError) as raised:
        driver.run(batches(driver).enqueue_many(new))

    assert [type(each).__name__ for each in raised.value.outcomes] == [
        "Task",
        "TooLargeError",
        "Task",
    ]


def test_only_items_that_were_refused_for_now_are_sent_again():
    def two_of_three(request):
        items = json.loads(request.body)["tasks"]
        error = {"message": "Too much.", "code": "overloaded"}
        kept = [{"status": 201, "task": a_task(**each)} for each in items]
        return answer(200, {"items": [kept[0], {"status": 503, "error": error}, kept[2]]})

    driver = Driver(two_of_three, stored_all)

    created = driver.run(batches(driver).enqueue_many([NewTask("q", k) for k in "abc"]))

    assert [each.kind for each in created] == ["a", "b", "c"]
    assert [len(body["tasks"]) for body in driver.bodies] == [3, 1]


def test_a_batch_whose_answer_was_lost_is_found_again():
    exists = {"message": "There.", "code": "task_already_exists"}
    refused = answer(200, {"items": [{"status": 409, "error": exists}] * 2})
    new = [NewTask("q", "k", id="1"), NewTask("q", "other", id="2")]
    driver = Driver(LOST, refused, answer(200, a_task()), answer(200, a_task()))

    with pytest.raises(BatchError, match="1 of 2 failed, the first: There") as raised:
        driver.run(batches(driver).enqueue_many(new))

    assert raised.value.outcomes[0].id == "1"
    assert isinstance(raised.value.outcomes[1], AlreadyExistsError)


def test_a_batch_ends_in_time():
    """What was never sent shares the fate of what was."""
    driver = Driver(*[LOST] * 4, timeout=35.0)

    with pytest.raises(BatchError) as raised:
        driver.run(batches(driver).enqueue_many([NewTask("q", "k")] * 1500))

    assert len(raised.value.outcomes) == 1500
    assert all(isinstance(each, NoAnswerError) for each in raised.value.outcomes)


def test_an_empty_batch_asks_nobody():
    driver = Driver()

    assert driver.run(batches(driver).enqueue_many([])) == []


def test_results_of_several_workers_go_in_a_request_for_each():
    done = answer(200, {"items": [{"status": 200, "task": a_task(state="done")}]})
    other = a_claimed_task(last_claimed=CLAIM | {"worker_id": "v"})
    driver = Driver(done, done)

    driver.run(
        batches(driver).finish_many(
            [TaskResult(a_claimed_task(), "done", {"a": 1}), TaskResult(other, "failed")]
        )
    )

    assert [each.headers["X-TASQUES-WORKER-ID"] for each in driver.requests] == ["w", "v"]
    assert driver.bodies[0]["results"] == [
        {"queue": "q", "id": "1", "outcome": "done", "data": {"a": 1}}
    ]


def test_results_that_had_arrived_are_recognised():
    error = {"message": "No.", "code": "not_claimed"}
    refused = answer(200, {"items": [{"status": 400, "error": error}]})
    driver = Driver(LOST, refused, finished("done"))

    (task,) = driver.run(batches(driver).finish_many([TaskResult(a_claimed_task(), "done")]))

    assert task.state == "done"


# -------------------------------------------------------------------- recurring tasks


def test_a_recurring_task_whose_answer_was_lost_is_found_again():
    exists = refusal(409, "recurring_task_already_exists")
    driver = Driver(LOST, exists, answer(200, RECURRING))

    assert driver.run(recurring_tasks(driver).create(NIGHTLY)).id == "nightly"


@pytest.mark.parametrize(
    "difference",
    [
        {"schedule_expression": "@hourly"},
        {"task_definition": RECURRING["task_definition"] | {"kind": "other"}},
    ],
)
def test_another_recurring_task_is_not_taken_for_ours(difference):
    exists = refusal(409, "recurring_task_already_exists")
    driver = Driver(LOST, exists, answer(200, RECURRING | difference))

    with pytest.raises(AlreadyExistsError):
        driver.run(recurring_tasks(driver).create(NIGHTLY))


def test_a_deletion_whose_answer_was_lost_is_one():
    driver = Driver(LOST, refusal(404, "recurring_task_not_found"))

    driver.run(recurring_tasks(driver).delete("nightly"))


def test_what_never_was_can_not_be_deleted():
    driver = Driver(refusal(404, "recurring_task_not_found"))

    with pytest.raises(NotFoundError):
        driver.run(recurring_tasks(driver).delete("nightly"))


def test_a_run_is_repeated_with_the_same_key():
    driver = Driver(LOST, answer(201, a_task()))

    driver.run(recurring_tasks(driver).run("a/b"))

    assert [each.headers["Idempotency-Key"] for each in driver.requests] == ["key", "key"]
    assert driver.requests[0].path == "/recurring_tasques/a%2Fb/run"


def test_instants_are_read_with_their_zone():
    task = read_task(
        a_task(scheduled_for="2030-01-02T03:04:05Z", run_at="2030-01-02T00:00:00+09:00")
    )

    assert task.scheduled_for == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert task.run_at.utcoffset() == timedelta(hours=9)


def test_unavailable_is_raised_with_its_code_when_it_does_not_pass():
    driver = Driver(*[refusal(503, "store_blocked", "5")] * 2, timeout=8.0)

    with pytest.raises(UnavailableError) as raised:
        driver.run(tasks(driver).get("q", "1"))

    assert raised.value.code == "store_blocked"
