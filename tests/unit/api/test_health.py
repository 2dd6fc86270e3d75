from __future__ import annotations

from datetime import timedelta

from factories import START

from tasques.domain.lease import Leadership, Lease, Server

LEASE = Lease(
    leader=Server("b1946ac9", "tasques-0", 4242),
    term=7,
    since=START,
    write=99,
    written_at=START + timedelta(hours=1),
    duration=timedelta(seconds=5),
)


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


async def test_a_ready_server_says_what_should_be_looked_into(client, api):
    api.warnings = ["The clock is 3.0 s ahead of Elasticsearch's."]

    answer = await client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "warnings": ["The clock is 3.0 s ahead of Elasticsearch's."],
    }


async def test_everybody_can_ask_who_leads(client_with, api):
    async with client_with(users={"anna": "secret"}) as client:
        answer = await client.get("/health/leader")

    assert answer.status_code == 503
    assert answer.json() == {"message": "Nobody is known to lead.", "code": "no_leader"}


async def test_a_server_says_who_leads(client, api):
    api.leadership = Leadership(LEASE, is_this_server=False)

    answer = await client.get("/health/leader")

    assert answer.status_code == 200
    assert answer.json() == {
        "leader_id": "b1946ac9",
        "host": "tasques-0",
        "pid": 4242,
        "term": 7,
        "since": START.isoformat().replace("+00:00", "Z"),
        "lease": "5s",
        "is_this_server": False,
    }


async def test_the_leader_says_that_it_leads_and_what_is_wrong_with_it(client, api):
    api.leadership = Leadership(LEASE, is_this_server=True)
    api.warnings = ["The clock is 3.0 s behind Elasticsearch's."]

    answer = (await client.get("/health/leader")).json()

    assert answer["is_this_server"]
    assert answer["warnings"] == api.warnings
