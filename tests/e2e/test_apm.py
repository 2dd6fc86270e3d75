"""Servers with Elastic APM on, as processes."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from apm_receiver import receiving
from http_calls import Caller
from processes import run, running

pytestmark = pytest.mark.elasticsearch

TOKEN = "T0K3N"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


def settings_of(received, elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "apm.address": f"http://127.0.0.1:{received.port}",
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_is_one_connected_trace_from_its_enqueuing_to_its_result(
    workers, tmp_path, elasticsearch_url, prefix
):
    with receiving() as received:
        settings = settings_of(received, elasticsearch_url, prefix)
        settings |= {"workers": workers, "apm.secret_token": TOKEN}
        run("setup", folder=tmp_path, settings=settings)
        with running("server", folder=tmp_path, settings=settings) as server:
            caller = Caller(server.wait_until_ready())
            new = {"queue": "q", "kind": "k", "id": "t1"}
            wish = {"queues": ["q"], "block_for": "20s"}
            assert caller.call("POST", "/tasques", new, {"traceparent": PARENT})[0] == 201
            (task,) = caller.call("POST", "/tasques/claims", wish)[1]
            back = {"traceparent": task["traceparent"]}
            assert caller.call("PUT", "/tasques/done/q/t1", {}, back)[0] == 200

    received.check()
    assert_connected(received)
    assert received.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in server.output
    server.assert_calm()


def assert_connected(received):
    """Enqueue, wait and result are one trace; the claim, which is for many, is linked with it."""
    requests = {each["name"]: each for each in received.of("transaction")}
    enqueue = requests["POST /tasques"]
    claim = requests["POST /tasques/claims"]
    done = requests["PUT /tasques/done/{queue}/{id}"]
    (wait,) = (span for span in received.of("span") if span["name"] == "wait in queue")
    place = {"trace_id": TRACE, "span_id": enqueue["id"]}

    assert (enqueue["trace_id"], enqueue["parent_id"]) == (TRACE, CALLER)
    for event in (wait, done):
        assert (event["trace_id"], event["parent_id"]) == (TRACE, enqueue["id"])
    assert claim["trace_id"] != TRACE
    assert claim["links"] == [place]
    assert wait["links"] == [{"trace_id": claim["trace_id"], "span_id": claim["id"]}]
    assert claim["context"]["tags"]["wait_ms"] == wait["duration"]
    for request in (enqueue, claim, done):
        assert request["context"]["tags"]["kind"] == "k"
        assert_waited_for_a_bulk(received, request)


def assert_waited_for_a_bulk(received, request):
    mine = [span for span in received.of("span") if span.get("transaction_id") == request["id"]]
    (wait,) = (span for span in mine if span["name"] == "bulk write")
    (bulk,) = (span for span in mine if span["name"] == "Elasticsearch: POST _bulk")
    assert wait["parent_id"] == request["id"]
    assert bulk["parent_id"] == wait["id"]
    assert bulk["context"]["tags"]["operations"] in (1, 2)  # with a sign of life of the process
    assert bulk["context"]["service"]["target"]["type"] == "elasticsearch"


def test_names_are_few_and_tell_no_ids(tmp_path, elasticsearch_url, prefix):
    with receiving() as received:
        settings = settings_of(received, elasticsearch_url, prefix)
        run("setup", folder=tmp_path, settings=settings)
        with running("server", folder=tmp_path, settings=settings) as server:
            caller = Caller(server.wait_until_ready())
            definition = {"queue": "q", "kind": "k"}
            every_second = {
                "id": "r-SECRET",
                "schedule_expression": "@every 1s",
                "task_definition": definition,
            }
            assert caller.call("POST", "/recurring_tasques", every_second)[0] == 201
            wish = {"queues": ["q"], "block_for": "20s"}
            (task,) = caller.call("POST", "/tasques/claims", wish)[1]
            assert caller.call("GET", "/recurring_tasques")[0] == 200
            assert caller.call("GET", "/tasques/q/SECRET")[0] == 404

    received.check()
    names = {
        event["name"] for kind, event in received.events if kind != "metadata" and "name" in event
    }
    assert "Elasticsearch: POST _mget" in names
    assert not [name for name in names if re.search(f"SECRET|{prefix}|@|[0-9]", name)]
    passes = [each for each in received.of("transaction") if each["name"] == "scheduler"]
    assert all(each["context"]["tags"]["count"] > 0 for each in passes)
    (fired,) = (each for each in passes if each["id"] == task["traceparent"].split("-")[2])
    assert fired["type"] == "background"
    searches = [each for each in received.of("transaction") if each["name"] == "claim search"]
    assert all(each["context"]["tags"]["found"] > 0 for each in searches)


def test_a_bulk_of_many_requests_is_one_span_linked_to_all_of_them(
    tmp_path, elasticsearch_url, prefix
):
    count = 300
    with receiving() as received:
        settings = settings_of(received, elasticsearch_url, prefix)
        run("setup", folder=tmp_path, settings=settings)
        with running("server", folder=tmp_path, settings=settings) as server:
            url = server.wait_until_ready()

            def enqueue(number):
                new = {"queue": "q", "kind": "k", "id": str(number)}
                return Caller(url).call("POST", "/tasques", new)[0]

            with ThreadPoolExecutor(30) as threads:
                assert set(threads.map(enqueue, range(count))) == {201}

    received.check()
    enqueues = {
        each["id"] for each in received.of("transaction") if each["name"] == "POST /tasques"
    }
    spans = received.of("span")
    waits = {each["id"] for each in spans if each.get("transaction_id") in enqueues}
    bulks = [each for each in spans if each["name"] == "Elasticsearch: POST _bulk"]
    served = [bulk["parent_id"] for bulk in bulks]
    served += [link["span_id"] for bulk in bulks for link in bulk.get("links", ())]
    assert len(enqueues) == count
    assert sorted(served) == sorted(waits - {bulk["id"] for bulk in bulks})
    assert sum(bulk["context"]["tags"]["create"] for bulk in bulks) == count
    assert len(bulks) < count
