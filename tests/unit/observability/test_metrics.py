from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from factories import START, a_claimed_task, a_task
from fakes import FakeClock
from scraped import events, samples, value

from tasques.background_tasks import BackgroundTasks
from tasques.observability.metrics import Metrics

REQUESTS = "tasques_http_request_duration_seconds"


@pytest.fixture
def metrics():
    return Metrics(max_queues=2, long_poll=("POST", "/claims"))


def shown(metrics):
    return metrics.render().decode()


def test_requests_are_counted_by_route_and_status_with_their_durations(metrics):
    metrics.answered("GET", "/tasques/{id}", 200, 0.004)
    metrics.answered("GET", "/tasques/{id}", 200, 0.02)
    metrics.answered("GET", "/tasques/{id}", 404, 0.02)

    good = {"method": "GET", "route": "/tasques/{id}", "status": "200"}
    assert value(shown(metrics), f"{REQUESTS}_count", good) == 2
    assert value(shown(metrics), f"{REQUESTS}_bucket", good | {"le": "0.005"}) == 1
    assert value(shown(metrics), f"{REQUESTS}_count", good | {"status": "404"}) == 1


def test_the_wait_of_claims_does_not_spoil_the_latency_of_requests(metrics):
    metrics.answered("POST", "/claims", 200, 20.0)

    assert (
        value(shown(metrics), "tasques_claim_request_duration_seconds_sum", {"status": "200"}) == 20
    )
    assert REQUESTS + "_count" not in {name for name, _ in samples(shown(metrics))}


def test_what_clients_make_up_has_no_label_of_its_own(metrics):
    for number in range(5):
        metrics.answered(f"GET{number}", None, 404, 0.001)

    labels = {"method": "other", "route": "other", "status": "404"}
    assert value(shown(metrics), f"{REQUESTS}_count", labels) == 5


def test_the_life_of_a_task_is_counted(metrics):
    task = a_claimed_task()
    at = START + timedelta(seconds=1)
    failed = task.fail(worker_id="worker-1", at=at, failure=None, retry_at=at)
    last = task._replace(retry_times=0)
    metrics.created(a_task())
    metrics.claimed(task)
    metrics.changed(task.report(worker_id="worker-1", at=at, data=None))
    metrics.changed(task.complete(worker_id="worker-1", at=at, success=None))
    metrics.changed(task.unclaim(worker_id="worker-1", at=at))
    metrics.changed(failed)
    metrics.changed(last.fail(worker_id="worker-1", at=at, failure=None, retry_at=at))
    metrics.undone(a_task())
    metrics.timed_out(failed)
    metrics.timed_out(last.time_out(at=at, retry_at=at))

    assert events(shown(metrics)) == {
        ("mail", "created"): 1,
        ("mail", "claimed"): 1,
        ("mail", "done"): 1,
        ("mail", "unclaimed"): 1,
        ("mail", "failed"): 1,
        ("mail", "dead"): 2,
        ("mail", "claim_undone"): 1,
        ("mail", "timed_out"): 2,
    }


@pytest.mark.parametrize(
    ("run_at", "enqueued_at", "claimed_at", "waited"),
    [
        (0, 0, 3, 3.0),
        (2, 0, 3, 1.0),
        (-3600, 0, 3, 3.0),  # it can not have been had before it was there
        (0, 2, 3, 1.0),  # given back meanwhile
        (0, 0, -0.5, 0.0),  # another server's clock
    ],
)
def test_a_task_waits_from_when_it_can_be_had(metrics, run_at, enqueued_at, claimed_at, waited):
    def instant(seconds):
        return START + timedelta(seconds=seconds)

    task = a_task(run_at=instant(run_at), last_enqueued_at=instant(enqueued_at))
    metrics.claimed(task.claim(worker_id="w", at=instant(claimed_at), claim_id="c"))

    assert value(shown(metrics), "tasques_task_wait_seconds_count", {"queue": "mail"}) == 1
    assert value(shown(metrics), "tasques_task_wait_seconds_sum", {"queue": "mail"}) == waited


def test_queues_beyond_the_limit_share_one_label(metrics):
    for queue in ("a", "b", "c", "d", "a"):
        metrics.created(a_task(queue=queue))
        metrics.claimed(a_claimed_task(queue=queue))

    counted = {
        queue: n for (queue, event), n in events(shown(metrics)).items() if event == "created"
    }
    assert counted == {"a": 2, "b": 1, "other": 2}
    assert value(shown(metrics), "tasques_task_wait_seconds_count", {"queue": "other"}) == 2


def test_odd_names_of_queues_are_shown_as_they_are(metrics):
    for queue in ('q"\\', "ä\n"):
        metrics.created(a_task(queue=queue))

    assert events(shown(metrics)) == {('q"\\', "created"): 1, ("ä\n", "created"): 1}


async def test_gauges_follow_what_is_the_case(metrics):
    clock = FakeClock()
    parked = [3]
    background = BackgroundTasks()
    background.start(
        metrics.watch(clock, parked=lambda: parked[0], is_leader=lambda: parked[0] == 3), name="w"
    )
    try:
        await clock.advance(0.1)
        assert value(shown(metrics), "tasques_parked_claims") == 3
        assert value(shown(metrics), "tasques_leader") == 1

        parked[0] = 0
        await clock.advance(1.0)
        assert value(shown(metrics), "tasques_parked_claims") == 0
        assert value(shown(metrics), "tasques_leader") == 0
    finally:
        with suppress(TimeoutError):
            await background.drain(0)


def test_requests_that_write_are_counted_with_their_sizes_and_results(metrics):
    metrics.bulk.answered(200, 0.02, operations=3, repeated=0)
    metrics.bulk.answered(429, 0.02, operations=40, repeated=2)
    metrics.bulk.answered(None, 5.0, operations=1, repeated=1)
    metrics.bulk.settled("done", 3)
    metrics.bulk.settled("conflict")
    metrics.bulk.settled("done", 4)

    text = shown(metrics)
    by_status = {
        status: value(text, "tasques_bulk_request_duration_seconds_count", {"status": status})
        for status in ("200", "429", "none")
    }
    assert by_status == {"200": 1, "429": 1, "none": 1}
    assert value(text, "tasques_bulk_request_operations_sum") == 44
    assert value(text, "tasques_bulk_request_operations_bucket", {"le": "5.0"}) == 2
    assert value(text, "tasques_bulk_repeated_operations_total") == 3
    assert value(text, "tasques_bulk_operations_total", {"result": "done"}) == 7
    assert value(text, "tasques_bulk_operations_total", {"result": "conflict"}) == 1


def test_passes_of_chores_are_counted_by_how_they_ended(metrics):
    metrics.chores.passed("reaper", "done", 5, 0.02)
    metrics.chores.passed("reaper", "done", 2, 0.02)
    metrics.chores.passed("reaper", "broken_off", 0, 3.0)
    metrics.chores.left("archiver", 2)
    metrics.chores.left("archiver", 1)

    text = shown(metrics)
    name = "tasques_chore_pass_duration_seconds"
    good = {"chore": "reaper", "outcome": "done"}
    assert value(text, f"{name}_count", good) == 2
    assert value(text, f"{name}_sum", good | {"outcome": "broken_off"}) == 3
    assert value(text, "tasques_chore_items_total", {"chore": "reaper"}) == 7
    assert value(text, "tasques_chore_failures_total", {"chore": "archiver"}) == 3


@pytest.mark.parametrize(("late", "lag"), [(2.5, 2.5), (-0.5, 0.0)])
def test_schedules_are_as_late_as_their_tasks(metrics, late, lag):
    metrics.fired(a_task(created_at=START + timedelta(seconds=late), scheduled_for=START))
    metrics.fired(a_task(scheduled_for=None))

    text = shown(metrics)
    assert value(text, "tasques_schedule_lag_seconds_count") == 1
    assert value(text, "tasques_schedule_lag_seconds_sum") == lag
    assert events(text) == {("mail", "created"): 2}
