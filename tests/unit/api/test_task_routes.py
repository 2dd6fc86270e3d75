from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from factories import a_task

from tasques.api.requests import RequestDefaults
from tasques.domain.errors import StoreBlockedError

WORKER = {"X-TASQUES-WORKER-ID": "worker-1"}
NEW = {"queue": "mail", "kind": "send"}
JSON = "application/json"


async def claim_one(client, worker="worker-1", **changes):
    body = {"queues": ["mail"], "block_for": "5s"} | changes
    answer = await client.post(
        "/tasques/claims", json=body, headers={"X-TASQUES-WORKER-ID": worker}
    )
    assert answer.status_code == 200
    return answer.json()


async def store(api, *tasks):
    """Put tasks where searches see them."""
    for task in tasks:
        api.repository.store(task)
    await api.repository.refresh()


async def test_a_task_is_created_claimed_reported_on_and_done(client):
    created = await client.post("/tasques", json=NEW | {"id": "t", "args": {"a": [1]}})
    claimed = await client.post("/tasques/claims", json={"queues": ["mail"]}, headers=WORKER)
    reported = await client.put(
        "/tasques/reports/mail/t", json={"data": {"percent": 40}}, headers=WORKER
    )
    done = await client.put("/tasques/done/mail/t", json={"data": {"ok": True}}, headers=WORKER)
    got = await client.get("/tasques/mail/t")

    answers = [created, claimed, reported, done, got]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    assert created.json()["state"] == "queued"
    (task,) = claimed.json()
    assert task["args"] == {"a": [1]}
    assert task["last_claimed"]["worker_id"] == "worker-1"
    assert reported.json()["last_claimed"]["last_report"]["data"] == {"percent": 40}
    assert done.json()["last_claimed"]["result"]["success"] == {"ok": True}
    assert got.json() == done.json()
    assert {answer.headers["content-type"] for answer in answers} == {JSON}


async def test_a_failed_task_waits_for_its_retry(client):
    await client.post("/tasques", json=NEW | {"id": "t"})
    await claim_one(client)

    failed = await client.put(
        "/tasques/failed/mail/t", json={"data": {"error": "e"}}, headers=WORKER
    )

    assert failed.status_code == 200
    assert failed.json()["state"] == "failed"
    assert failed.json()["last_claimed"]["result"]["failure"] == {"error": "e"}
    assert await claim_one(client, block_for="0s") == []


async def test_a_task_without_attempts_left_is_dead(client):
    await client.post("/tasques", json=NEW | {"id": "t", "retry_times": 0})
    await claim_one(client)

    failed = await client.put("/tasques/failed/mail/t", json={}, headers=WORKER)

    assert failed.json()["state"] == "dead"


async def test_an_unclaimed_task_is_for_others(client):
    await client.post("/tasques", json=NEW | {"id": "t"})
    await claim_one(client)

    unclaimed = await client.delete("/tasques/claims/mail/t", headers=WORKER)
    (task,) = await claim_one(client, worker="worker-2")

    assert unclaimed.status_code == 200
    assert (unclaimed.json()["state"], unclaimed.json()["attempted"]) == ("queued", 0)
    assert (task["last_claimed"]["worker_id"], task["attempted"]) == ("worker-2", 1)


async def test_what_a_new_task_does_not_say_comes_from_the_defaults(client_with):
    defaults = RequestDefaults(retry_times=7, processing_timeout=timedelta(seconds=90))
    async with client_with(defaults=defaults) as client:
        task = (await client.post("/tasques", json=NEW)).json()

    assert len(task["id"]) == 32
    assert task["retry_times"] == 7
    assert task["processing_timeout"] == "1m30s"
    assert task["priority"] == 0
    assert "args" not in task
    assert "context" not in task


async def test_zero_is_not_the_same_as_absent(client_with):
    async with client_with(defaults=RequestDefaults(retry_times=7)) as client:
        task = (await client.post("/tasques", json=NEW | {"retry_times": 0})).json()

    assert task["retry_times"] == 0


async def test_a_claim_takes_its_amount_and_wait_from_the_defaults(client_with):
    defaults = RequestDefaults(claim_amount=2, block_for=timedelta(0))
    async with client_with(defaults=defaults) as client:
        assert await claim_one(client, block_for=None) == []
        for _ in range(3):
            await client.post("/tasques", json=NEW)
        assert len(await claim_one(client, block_for="5s", amount=None)) == 2


async def test_a_wait_is_cut_to_the_longest_allowed_one(client_with):
    async with client_with(defaults=RequestDefaults(max_block_for=timedelta(0))) as client:
        assert await claim_one(client, block_for="10h") == []


@pytest.mark.parametrize("block_for", ["0s", "-5s", "0"])
async def test_without_a_wait_a_claim_looks_once(client, api, block_for):
    await store(api, a_task())

    assert len(await claim_one(client, block_for=block_for)) == 1
    assert await claim_one(client, block_for=block_for) == []


async def test_a_claim_for_nothing_gets_nothing_at_once(client, api):
    await store(api, a_task())

    assert await claim_one(client, amount=0, block_for="10h") == []


async def test_a_huge_claim_is_cut(client, api):
    await store(api, *(a_task(id=f"t{number}") for number in range(1005)))

    assert 1 <= len(await claim_one(client, amount=10**30)) <= 1000


async def test_no_queues_mean_all_queues(client):
    await client.post("/tasques", json=NEW | {"queue": "other"})

    (task,) = await claim_one(client, queues=[])

    assert task["queue"] == "other"


async def test_a_parked_claim_is_woken_by_a_new_task(client):
    waiting = asyncio.create_task(claim_one(client))
    await asyncio.sleep(0)
    await client.post("/tasques", json=NEW)

    assert len(await waiting) == 1


# ------------------------------------------------------------------ refusals


async def test_an_id_is_taken_once_in_each_queue(client):
    task = NEW | {"id": "t"}

    statuses = [
        (await client.post("/tasques", json=body)).status_code
        for body in (task, task, task | {"queue": "other"})
    ]

    assert statuses == [201, 409, 201]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasques/mail/t"),
        ("DELETE", "/tasques/claims/mail/t"),
        ("PUT", "/tasques/reports/mail/t"),
        ("PUT", "/tasques/done/mail/t"),
        ("PUT", "/tasques/failed/mail/t"),
    ],
)
async def test_an_unknown_task_is_not_found(client, method, path):
    answer = await client.request(method, path, content=b"{}", headers=WORKER)

    assert answer.status_code == 404
    assert answer.json()["code"] == "task_not_found"
    assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/tasques/claims/mail/t"),
        ("PUT", "/tasques/reports/mail/t"),
        ("PUT", "/tasques/done/mail/t"),
        ("PUT", "/tasques/failed/mail/t"),
    ],
)
async def test_only_the_worker_that_holds_a_task_may_move_it(client, method, path):
    await client.post("/tasques", json=NEW | {"id": "t"})

    before = await client.request(method, path, content=b"{}", headers=WORKER)
    await claim_one(client)
    by_another = await client.request(
        method, path, content=b"{}", headers={"X-TASQUES-WORKER-ID": "other"}
    )

    assert (before.status_code, before.json()["code"]) == (400, "not_claimed")
    assert (by_another.status_code, by_another.json()["code"]) == (403, "not_owned_by_worker")


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/tasques/claims", b"no json", "X-TASQUES-WORKER-ID"),
        ("DELETE", "/tasques/claims/M/t", b"", "queue"),
        ("DELETE", "/tasques/claims/mail/t", b"", "X-TASQUES-WORKER-ID"),
        ("PUT", "/tasques/done/M/t", b"no json", "queue"),
        ("PUT", "/tasques/failed/mail/t", b'{"data":1}', "data"),
        ("PUT", "/tasques/reports/mail/t", b"{}", "X-TASQUES-WORKER-ID"),
    ],
)
async def test_of_several_faults_the_first_in_order_is_named(client, method, path, body, named):
    answer = await client.request(method, path, content=body)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("  worker-1\t", "worker-1"),
        ("treballador-é".encode(), "treballador-é"),
        ("treballador-é".encode("latin-1"), "treballador-é"),
        ("w" * 512, "w" * 512),
    ],
)
async def test_a_worker_id_is_any_trimmed_text(client, api, sent, kept):
    await store(api, a_task())

    (task,) = await claim_one(client, worker=sent)

    assert task["last_claimed"]["worker_id"] == kept


@pytest.mark.parametrize("worker_id", ["", "   ", "w" * 513])
async def test_a_worker_id_is_neither_blank_nor_endless(client, worker_id):
    answer = await client.post(
        "/tasques/claims", json={"queues": []}, headers={"X-TASQUES-WORKER-ID": worker_id}
    )

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("X-TASQUES-WORKER-ID: must not")


async def test_a_store_that_refuses_for_now_is_answered_with_when_to_come_back(client, api):
    api.repository.fail_next(StoreBlockedError("The disk of Elasticsearch is full."))

    answer = await client.post("/tasques", json=NEW)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {
        "message": "The disk of Elasticsearch is full.",
        "code": "store_blocked",
    }


async def test_a_broken_document_is_a_fault_of_the_server(client, api, caplog):
    caplog.set_level(logging.ERROR)
    api.repository.store(a_task())
    api.repository.break_document("mail", "task-1")

    answer = await client.get("/tasques/mail/task-1")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "broken by a test" not in answer.text
    assert "broken by a test" in caplog.text


async def test_an_archived_task_says_so(client, api):
    task = a_task()
    api.archive.archived[task.queue, task.id, task.incarnation] = task._replace(archived=True)

    answer = await client.get("/tasques/mail/task-1")

    assert answer.status_code == 200
    assert answer.json()["archived"] is True


async def test_other_tasks_do_not_say_that_they_are_not_archived(client, api):
    api.repository.store(a_task())

    assert "archived" not in (await client.get("/tasques/mail/task-1")).json()
