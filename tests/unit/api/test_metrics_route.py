from __future__ import annotations

import pytest
from scraped import events, value

from tasques.settings.model import MetricsSettings

ANNA = ("anna", "secret")


async def test_requests_and_tasks_are_counted(client):
    await client.post("/tasques", json={"queue": "mail", "kind": "k", "id": "t"})
    worker = {"x-tasques-worker-id": "w"}
    await client.post("/tasques/claims", json={"queues": ["mail"]}, headers=worker)
    await client.put("/tasques/done/mail/t", json={}, headers=worker)
    await client.get("/tasques/mail/absent")
    await client.get("/nothing/here")

    answer = await client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert events(answer.text) == {
        ("mail", "created"): 1,
        ("mail", "claimed"): 1,
        ("mail", "done"): 1,
    }
    for method, route, status in (
        ("POST", "/tasques", "201"),
        ("PUT", "/tasques/done/{queue}/{id}", "200"),
        ("GET", "/tasques/{queue}/{id}", "404"),
        ("GET", "other", "404"),
    ):
        labels = {"method": method, "route": route, "status": status}
        name = "tasques_http_request_duration_seconds_count"
        assert value(answer.text, name, labels) == 1
    name = "tasques_claim_request_duration_seconds_count"
    assert value(answer.text, name, {"status": "200"}) == 1


async def test_probes_and_scrapes_are_not_counted(client):
    for path in ("/health/live", "/health/ready", "/metrics", "/metrics"):
        assert (await client.get(path)).status_code == 200

    assert "duration_seconds_count{" not in (await client.get("/metrics")).text


async def test_the_figures_are_for_users_if_there_are_any(client_with):
    async with client_with(users=dict([ANNA])) as client:
        refused = await client.get("/metrics")
        shown = await client.get("/metrics", auth=ANNA)

    assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")
    assert "www-authenticate" in refused.headers
    assert shown.status_code == 200


async def test_they_can_be_opened_to_everybody(client_with):
    async with client_with(users=dict([ANNA]), metrics=MetricsSettings(public=True)) as client:
        assert (await client.get("/metrics")).status_code == 200
        document = (await client.get("/openapi.json")).json()

    assert "security" not in document["paths"]["/metrics"]["get"]
    assert set(document["paths"]["/metrics"]["get"]["responses"]) == {"200"}


async def test_they_can_be_switched_off(client_with):
    async with client_with(metrics=MetricsSettings(enabled=False)) as client:
        await client.post("/tasques", json={"queue": "mail", "kind": "k"})
        answer = await client.get("/metrics")
        document = (await client.get("/openapi.json")).json()

    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_route")
    assert "/metrics" not in document["paths"]


@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_they_are_only_to_be_read(client, method):
    assert (await client.request(method, "/metrics")).status_code in {404, 405}


async def test_they_are_documented(client):
    operation = (await client.get("/openapi.json")).json()["paths"]["/metrics"]["get"]

    assert operation["operationId"] == "get-metrics"
    assert operation["responses"]["200"]["content"] == {
        "text/plain": {"schema": {"type": "string"}}
    }
    assert set(operation["responses"]) == {"200", "401"}
