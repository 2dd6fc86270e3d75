"""The place in a trace that a task belongs to, without anybody who traces here."""

from __future__ import annotations

import pytest

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACED = {"traceparent": PARENT}
WORKER = {"X-TASQUES-WORKER-ID": "w1"}
NEW = {"queue": "mail", "kind": "send"}


async def test_a_task_carries_the_trace_of_its_request_to_the_worker_and_on(client):
    created = await client.post("/tasques", json=NEW | {"id": "t"}, headers=TRACED)
    claimed = await client.post("/tasques/claims", json={"queues": ["mail"]}, headers=WORKER)
    failed = await client.put("/tasques/failed/mail/t", json={}, headers=WORKER)
    got = await client.get("/tasques/mail/t")

    answers = [created.json(), *claimed.json(), failed.json(), got.json()]
    assert [answer["traceparent"] for answer in answers] == [PARENT] * 4


async def test_all_tasks_of_a_batch_carry_it(client):
    batch = {"tasks": [NEW, NEW | {"queue": "Bad"}, NEW]}

    answer = await client.post("/tasques/batch", json=batch, headers=TRACED)

    tasks = [item.get("task", {}) for item in answer.json()["items"]]
    assert [task.get("traceparent") for task in tasks] == [PARENT, None, PARENT]


async def test_a_run_of_a_recurring_task_carries_that_of_who_wanted_it(client):
    recurring = {"id": "r", "schedule_expression": "@daily", "task_definition": NEW}
    await client.post("/recurring_tasques", json=recurring)

    answer = await client.post("/recurring_tasques/r/run", headers=TRACED)

    assert answer.json()["traceparent"] == PARENT


@pytest.mark.parametrize("value", [None, "", "x", PARENT.upper(), f"{PARENT}-", "ff" + PARENT[2:]])
async def test_a_header_that_is_missing_or_malformed_is_ignored(client, value):
    headers = {} if value is None else {"traceparent": value}

    answer = await client.post("/tasques", json=NEW, headers=headers)

    assert answer.status_code == 201
    assert "traceparent" not in answer.json()


async def test_a_member_of_the_body_is_no_trace(client):
    answer = await client.post("/tasques", json=NEW | TRACED)

    assert "traceparent" not in answer.json()
