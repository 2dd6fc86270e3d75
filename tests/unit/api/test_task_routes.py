from __future__ import annotations

WORKER = {"X-TASQUES-WORKER-ID": "worker-1"}
NEW = {"queue": "mail", "kind": "send"}


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
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
