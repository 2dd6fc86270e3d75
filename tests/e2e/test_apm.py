"""Servers with Elastic APM on, as processes."""

from __future__ import annotations

import pytest
from apm_receiver import receiving
from http_calls import Caller
from processes import run, running

pytestmark = pytest.mark.elasticsearch

TOKEN = "T0K3N"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("workers", [1, 2])
def test_all_requests_of_a_client_are_in_its_trace_once_the_server_has_stopped(
    workers, tmp_path, elasticsearch_url, prefix
):
    with receiving() as received:
        settings = {
            "bind_address": "127.0.0.1:0",
            "workers": workers,
            "elasticsearch.addresses": elasticsearch_url,
            "elasticsearch.index_prefix": prefix,
            "elasticsearch.replicas": 0,
            "apm.address": f"http://127.0.0.1:{received.port}",
            "apm.secret_token": TOKEN,
        }
        run("setup", folder=tmp_path, settings=settings)
        with running("server", folder=tmp_path, settings=settings) as server:
            caller = Caller(server.wait_until_ready())
            trace = {"traceparent": PARENT}
            task = {"queue": "q", "kind": "k", "id": "t1"}
            for method, path, body in (
                ("POST", "/tasques", task),
                ("POST", "/tasques/claims", {"queues": ["q"]}),
                ("PUT", "/tasques/done/q/t1", {}),
            ):
                assert caller.call(method, path, body, trace)[0] in {200, 201}

    received.check()
    in_trace = [each for each in received.of("transaction") if each["trace_id"] == TRACE]
    assert sorted(each["name"] for each in in_trace) == [
        "POST /tasques",
        "POST /tasques/claims",
        "PUT /tasques/done/{queue}/{id}",
    ]
    assert received.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in server.output
    server.assert_calm()
