from __future__ import annotations

import pytest

from tasques.api.requests import RequestDefaults
from tasques.domain.errors import StoreUnavailableError

WORKER = {"X-TASQUES-WORKER-ID": "worker-1"}
DEEPEST = 150


def new(**members):
    return {"queue": "mail", "kind": "send"} | members


async def claim(client, amount):
    body = {"queues": ["mail"], "amount": amount, "block_for": "5s"}
    claimed = []
    while len(claimed) < amount:
        claimed += (await client.post("/tasques/claims", json=body, headers=WORKER)).json()
    return claimed


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


async def test_every_item_has_an_outcome_of_its_own_in_its_place(client):
    await client.post("/tasques", json=new(id="taken"))

    answer = await client.post(
        "/tasques/batch",
        json={
            "tasks": [
                new(id="a", args={"n": 2**70}),
                new(id="taken"),
                new(queue="Mail"),
                "no object",
                new(id="a"),
                new(),
            ]
        },
    )

    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [201, 409, 400, 400, 409, 201]
    assert items[0]["task"]["args"] == {"n": 2**70}
    assert items[1]["error"]["code"] == "task_already_exists"
    assert items[2]["error"]["message"] == "queue: must be in lower case"
    assert items[4]["error"]["code"] == "task_already_exists"
    assert len(items[5]["task"]["id"]) == 32
    assert (await client.get("/tasques/mail/a")).json() == items[0]["task"]


async def test_tasks_of_a_batch_are_handed_to_those_who_wait(client):
    await client.post("/tasques/batch", json={"tasks": [new(id=str(n)) for n in range(20)]})

    assert {task["id"] for task in await claim(client, 20)} == {str(n) for n in range(20)}


async def test_the_results_of_a_worker_are_judged_each_for_itself(client):
    tasks = [new(id="done"), new(id="failed"), new(id="dead", retry_times=0), new(id="twice")]
    await client.post("/tasques/batch", json={"tasks": tasks})
    await claim(client, 4)
    await client.post("/tasques", json=new(id="free", run_at="2099-01-01T00:00:00Z"))

    def result(name, outcome="done", **members):
        return {"queue": "mail", "id": name, "outcome": outcome} | members

    answer = await client.post(
        "/tasques/results/batch",
        headers=WORKER,
        json={
            "results": [
                result("done", data={"n": 1}),
                result("failed", "failed", data={"error": "e"}),
                result("dead", "failed"),
                result("twice"),
                result("twice", "failed"),
                result("free"),
                result("unknown"),
                result("done", "perhaps"),
            ]
        },
    )

    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [200, 200, 200, 200, 400, 400, 404, 400]
    assert [item["task"]["state"] for item in items[:4]] == ["done", "failed", "dead", "done"]
    assert items[0]["task"]["last_claimed"]["result"]["success"] == {"n": 1}
    assert items[1]["task"]["last_claimed"]["result"]["failure"] == {"error": "e"}
    assert items[4]["error"]["code"] == items[5]["error"]["code"] == "not_claimed"
    assert items[7]["error"]["message"].startswith("outcome: ")


async def test_another_worker_may_not_finish_a_task_in_a_batch(client):
    await client.post("/tasques", json=new(id="a"))
    await claim(client, 1)

    answer = await client.post(
        "/tasques/results/batch",
        headers={"X-TASQUES-WORKER-ID": "worker-2"},
        json={"results": [{"queue": "mail", "id": "a", "outcome": "done"}]},
    )

    assert answer.json()["items"][0]["status"] == 403
    assert (await client.get("/tasques/mail/a")).json()["state"] == "claimed"


async def test_an_item_that_the_store_does_not_take_is_503(api, client):
    api.repository.fail_next(StoreUnavailableError("Elasticsearch does not answer."))

    answer = await client.post("/tasques/batch", json={"tasks": [new(), new()]})

    assert [item["status"] for item in answer.json()["items"]] == [503, 201]


@pytest.mark.parametrize(
    ("path", "name"), [("/tasques/batch", "tasks"), ("/tasques/results/batch", "results")]
)
@pytest.mark.parametrize("items", [None, {}, "x", [{}] * 1001])
async def test_what_is_no_batch_is_refused_as_a_whole(client, path, name, items):
    answer = await client.post(path, json={name: items}, headers=WORKER)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{name}: ")


async def test_a_batch_may_be_empty(client):
    answer = await client.post("/tasques/batch", json={"tasks": []})

    assert (answer.status_code, answer.json()) == (200, {"items": []})


async def test_results_need_a_worker(client):
    answer = await client.post("/tasques/results/batch", json={"results": []})

    assert answer.status_code == 400
    assert "X-TASQUES-WORKER-ID" in answer.json()["message"]


async def test_args_may_be_as_deep_in_a_batch_as_alone(client):
    deep, too_deep = new(args=nested(DEEPEST)), new(args=nested(DEEPEST + 1))

    taken = await client.post("/tasques/batch", json={"tasks": [deep]})
    refused = await client.post("/tasques/batch", json={"tasks": [too_deep]})

    assert taken.json()["items"][0]["task"]["args"] == nested(DEEPEST)
    assert refused.status_code == 400


async def test_a_batch_is_bounded_in_bytes(client_with):
    async with client_with(defaults=RequestDefaults(max_body_size=1000)) as client:
        answer = await client.post("/tasques/batch", json={"tasks": [new(kind="k" * 500)] * 2})

    assert answer.status_code == 413
