"""Warnings in the log about what takes long, with an Elasticsearch that does."""

from __future__ import annotations

import json

import pytest
from apm_receiver import receiving
from gates import proxied
from http_calls import Caller
from processes import run, running
from proxy import answer, bulks, delay_answer

pytestmark = pytest.mark.elasticsearch

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
SLOW = 0.3  # seconds that Elasticsearch takes, three times what is allowed
NEW = {"queue": "q", "kind": "k"}


@pytest.fixture
def server(tmp_path, elasticsearch_url, prefix):
    """Starts a server whose Elasticsearch can be made slow."""

    def start(proxy, **settings):
        base = {
            "bind_address": "127.0.0.1:0",
            "elasticsearch.addresses": proxy.url,
            "elasticsearch.index_prefix": prefix,
            "elasticsearch.replicas": 0,
            "logging.slow_request": "100ms",
            "logging.slow_elasticsearch": "100ms",
        }
        run("setup", folder=tmp_path, settings=base)
        return running("server", folder=tmp_path, settings=base | settings)

    return start


def warnings(process, message):
    """What was said so, in order."""
    lines = [json.loads(line) for line in process.output.splitlines() if f'"{message}"' in line]
    assert all(line["log.level"] == "warning" for line in lines)
    return lines


def test_slow_requests_are_told_with_their_route_and_trace_but_not_claims(
    server, elasticsearch_url
):
    with proxied(elasticsearch_url) as proxy, server(proxy) as process:
        caller = Caller(process.wait_until_ready())
        proxy.fault = bulks(delay_answer(SLOW))
        task = NEW | {"id": "SECRET"}
        assert caller.call("POST", "/tasques", task, PARENT)[0] == 201
        wish = {"queues": ["q"], "block_for": "20s"}
        assert len(caller.call("POST", "/tasques/claims", wish, PARENT)[1]) == 1
        proxy.fault = None
        assert caller.call("PUT", "/tasques/done/q/SECRET", {}, PARENT)[0] == 200

    requests = [each for each in warnings(process, "slow request") if "trace.id" in each]
    assert [(each["http.request.method"], each["http.route"]) for each in requests] == [
        ("POST", "/tasques")
    ]
    assert requests[0]["trace.id"] == TRACE
    assert requests[0]["http.response.status_code"] == 201
    assert requests[0]["duration_ms"] >= SLOW * 1000
    writes = [
        each
        for each in warnings(process, "slow request to Elasticsearch")
        if each["endpoint"] == "_bulk"
    ]
    assert len(writes) >= 2
    assert "SECRET" not in process.output


def test_a_warning_has_the_ids_of_the_transaction_that_was_slow(server, elasticsearch_url):
    with receiving() as received, proxied(elasticsearch_url) as proxy:
        apm = {"apm.address": f"http://127.0.0.1:{received.port}"}
        with server(proxy, **apm) as process:
            caller = Caller(process.wait_until_ready())
            proxy.fault = bulks(delay_answer(SLOW))
            assert caller.call("POST", "/tasques", NEW)[0] == 201

    (transaction,) = (
        each for each in received.of("transaction") if each["name"] == "POST /tasques"
    )
    of_it = [
        line["message"]
        for message in ("slow request", "slow request to Elasticsearch")
        for line in warnings(process, message)
        if line.get("transaction.id") == transaction["id"]
        and line["trace.id"] == transaction["trace_id"]
    ]
    assert of_it == ["slow request", "slow request to Elasticsearch"]


def test_zero_is_no_warning(server, elasticsearch_url):
    never = {"logging.slow_request": "0s", "logging.slow_elasticsearch": "0s"}
    with proxied(elasticsearch_url) as proxy, server(proxy, **never) as process:
        caller = Caller(process.wait_until_ready())
        proxy.fault = bulks(delay_answer(SLOW))
        assert caller.call("POST", "/tasques", NEW)[0] == 201

    assert "slow request" not in process.output


def test_a_request_without_an_answer_is_slow_too(server, elasticsearch_url):
    hurry = {"elasticsearch.request_timeout": "300ms"}
    with proxied(elasticsearch_url) as proxy, server(proxy, **hurry) as process:
        caller = Caller(process.wait_until_ready())
        proxy.fault = bulks(delay_answer(5.0))
        process.wait_for(
            lambda: caller.call("POST", "/tasques", NEW)[0] and unanswered(process), "a warning"
        )
        proxy.fault = bulks(answer(503))


def unanswered(process):
    return [
        each
        for each in warnings(process, "slow request to Elasticsearch")
        if each["endpoint"] == "_bulk" and "http.response.status_code" not in each
    ]
