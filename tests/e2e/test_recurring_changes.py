"""Recurring tasks through the API of several servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from http_calls import Caller
from processes import run, running

pytestmark = pytest.mark.elasticsearch

NEW = {
    "id": "r",
    "schedule_expression": "0 0 30 2 *",
    "task_definition": {"queue": "mail", "kind": "send"},
}
KEY = {"Idempotency-Key": "key"}
CLIENTS = 12


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }


def at_once(*calls):
    """What simultaneous calls are answered."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [each.result() for each in [threads.submit(*call) for call in calls]]


def test_clients_of_two_servers_change_the_same_recurring_tasks(settings, tmp_path):
    """Nobody's change is lost or refused because others change it, too; one of many creates it."""
    run("setup", folder=tmp_path, settings=settings)
    with (
        running("server", folder=tmp_path, settings=settings) as first,
        running("server", folder=tmp_path, settings=settings) as second,
    ):
        callers = [Caller(server.wait_until_ready()) for server in (first, second)]
        calls = [callers[number % 2].call for number in range(CLIENTS)]

        for _ in range(3):  # anew, then in place of a deleted one
            created = at_once(*((call, "POST", "/recurring_tasques", NEW) for call in calls))
            assert sorted(status for status, _ in created) == [201] + [409] * (CLIENTS - 1)

            updated = at_once(
                *(
                    (call, "PUT", "/recurring_tasques/r", {"task_definition": definition(number)})
                    for number, call in enumerate(calls)
                )
            )
            assert [status for status, _ in updated] == [200] * CLIENTS
            versions = [task["metadata"]["version"]["seq_num"] for _, task in updated]
            assert len(set(versions)) == CLIENTS
            last = max(updated, key=lambda one: one[1]["metadata"]["version"]["seq_num"])
            assert [call("GET", "/recurring_tasques/r") for call in calls[:2]] == [last] * 2

            runs = at_once(
                *((call, "POST", "/recurring_tasques/r/run", None, KEY) for call in calls)
            )
            assert {status for status, _ in runs} == {201}
            assert len({task["id"] for _, task in runs}) == 1

            deleted = at_once(*((call, "DELETE", "/recurring_tasques/r") for call in calls))
            assert sorted(status for status, _ in deleted) == [200] + [404] * (CLIENTS - 1)
            assert [call("GET", "/recurring_tasques") for call in calls[:2]] == [(200, [])] * 2


def definition(number):
    return {"queue": "mail", "kind": "send", "priority": number}


def test_any_id_is_served_under_its_encoding(settings, tmp_path):
    """What can be created can be read, changed and deleted, through a real server too."""
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        call = Caller(server.wait_until_ready()).call
        for task_id in ("kg/s", "a%2Fb", "a?x=1", "\u00fc/\u00f1", "run"):
            path = f"/recurring_tasques/{quote(task_id, safe='')}"
            status, created = call("POST", "/recurring_tasques", NEW | {"id": task_id})

            assert status == 201
            assert call("GET", path) == (200, created)
            assert call("PUT", path, {"paused": True})[1]["paused"]
            assert call("DELETE", path)[1]["id"] == task_id
            assert call("GET", path)[0] == 404
