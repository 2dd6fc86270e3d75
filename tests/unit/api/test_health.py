from __future__ import annotations


async def test_a_running_server_is_alive_whether_ready_or_not(client, api):
    api.not_ready = "Elasticsearch does not answer."

    answer = await client.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_a_server_that_can_work_is_ready(client):
    answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_a_server_that_can_not_work_says_why(client, api):
    api.not_ready = "Elasticsearch does not answer."

    answer = await client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"message": "Elasticsearch does not answer.", "code": "not_ready"}
