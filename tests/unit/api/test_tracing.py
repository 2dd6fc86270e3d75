from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys

import httpx
import pytest
from apm_receiver import receiving
from in_memory_api import build, running

from tasques.api.tracing import TracedRequests
from tasques.apm import start_apm
from tasques.observability.apm import Agent
from tasques.settings.model import ApmSettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{'5' * 32}-00f067aa0ba902b7-00"
CLAIM = {"queues": ["mail"], "block_for": "5s"}
QUIET = {"metrics_interval": "0ms", "central_config": False}
WORKER = {"X-TASQUES-WORKER-ID": "w1"}


async def requested(receiver_port, calls, *, break_app=None, max_per_second=0):
    """Make the calls of a traced server, until all events are sent."""
    options = {"server_url": f"http://127.0.0.1:{receiver_port}", "secret_token": "T0K", **QUIET}
    agent = Agent(options, max_per_second=max_per_second)
    api = build()
    if break_app is not None:
        break_app(api)
    transport = httpx.ASGITransport(TracedRequests(api.app, agent.tracer))
    answers = []
    try:
        async with (
            running(api),
            httpx.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            for method, path, more in calls:
                answers.append(await client.request(method, path, **more))
    finally:
        await asyncio.to_thread(agent.close)
    return answers


def new_task(task_id="t1"):
    return {"json": {"id": task_id, "queue": "mail", "kind": "send"}}


async def test_requests_are_transactions_named_by_route_without_ids():
    with receiving() as received:
        await requested(
            received.port,
            [
                ("POST", "/tasques", new_task()),
                ("POST", "/tasques/claims", {"json": {"queues": ["mail"]}, "headers": WORKER}),
                ("PUT", "/tasques/done/mail/t1", {"json": {}, "headers": WORKER}),
                ("GET", "/tasques/mail/SECRET?token=SECRET", {}),
                ("GET", "/nowhere/SECRET", {}),
            ],
        )

    received.check()
    found = [(each["name"], each["type"], each["result"]) for each in received.of("transaction")]
    assert found == [
        ("POST /tasques", "request", "HTTP 2xx"),
        ("POST /tasques/claims", "long_poll", "HTTP 2xx"),
        ("PUT /tasques/done/{queue}/{id}", "request", "HTTP 2xx"),
        ("GET /tasques/{queue}/{id}", "request", "HTTP 4xx"),
        ("unknown route", "request", "HTTP 4xx"),
    ]
    done = received.of("transaction")[2]["context"]["tags"]
    assert done.pop("wait_ms") >= 0
    assert done.pop("run_ms") >= 0
    assert done == {
        "queue": "mail",
        "kind": "send",
        "task_id": "t1",
        "worker_id": "w1",
        "attempt": 1,
    }
    assert "token" not in received.raw
    assert received.tokens == {"Bearer T0K"}


async def test_of_many_requests_in_a_second_a_share_is_sent():
    with receiving() as received:
        await requested(received.port, [("GET", "/tasques/q/t", {})] * 100, max_per_second=1)

    received.check()
    assert 1 <= len(received.of("transaction")) < 50


async def test_a_request_joins_the_trace_of_its_caller():
    with receiving() as received:
        await requested(
            received.port, [("GET", "/tasques/q/t", {"headers": {"traceparent": PARENT}})]
        )

    (transaction,) = received.of("transaction")
    assert (transaction["trace_id"], transaction["parent_id"]) == (TRACE, "00f067aa0ba902b7")


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}])
async def test_a_task_carries_the_transaction_of_its_request(headers):
    with receiving() as received:
        (answer,) = await requested(
            received.port, [("POST", "/tasques", new_task() | {"headers": headers})]
        )

    (transaction,) = received.of("transaction")
    expected = f"00-{transaction['trace_id']}-{transaction['id']}-01"
    assert answer.json()["traceparent"] == expected


async def test_a_claim_is_linked_to_what_enqueued_its_tasks_and_tells_it_how_long_they_waited():
    with receiving() as received:
        await requested(
            received.port,
            [
                ("POST", "/tasques", new_task("t1")),
                ("POST", "/tasques", new_task("t2") | {"headers": {"traceparent": PARENT}}),
                ("POST", "/tasques", new_task("t3") | {"headers": {"traceparent": UNSAMPLED}}),
                ("POST", "/tasques/claims", {"json": CLAIM | {"amount": 3}, "headers": WORKER}),
            ],
        )

    received.check()
    first, second, claim = received.of("transaction")
    linked = [(link["trace_id"], link["span_id"]) for link in claim["links"]]
    assert linked[:2] == [(each["trace_id"], each["id"]) for each in (first, second)]
    assert linked[2][0] == "5" * 32
    assert claim["context"]["tags"]["count"] == 3
    assert claim["context"]["tags"]["queue"] == "mail"
    waits = [span for span in received.of("span") if span["name"] == "wait in queue"]
    assert [(span["trace_id"], span["parent_id"]) for span in waits] == linked[:2]
    assert [span["context"]["tags"]["task_id"] for span in waits] == ["t1", "t2"]
    assert waits[0]["links"] == [{"trace_id": claim["trace_id"], "span_id": claim["id"]}]
    assert waits[0]["duration"] == waits[0]["context"]["tags"]["wait_ms"]


async def test_a_batch_is_one_transaction_with_what_its_tasks_have_in_common():
    tasks = [{"queue": "mail", "kind": kind} for kind in ("a", "b")]
    with receiving() as received:
        await requested(received.port, [("POST", "/tasques/batch", {"json": {"tasks": tasks}})])

    received.check()
    (batch,) = received.of("transaction")
    assert batch["context"]["tags"] == {"count": 2, "queue": "mail"}
    assert "links" not in batch


async def test_a_trace_whose_caller_does_not_sample_it_is_not_sent_but_goes_on():
    with receiving() as received:
        (answer,) = await requested(
            received.port,
            [("POST", "/tasques", new_task() | {"headers": {"traceparent": UNSAMPLED}})],
        )

    assert received.of("transaction") == []
    assert answer.json()["traceparent"].startswith("00-" + "5" * 32)
    assert answer.json()["traceparent"].endswith("-00")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        PARENT + "\xff",
        PARENT + "-" + "a" * 5000,
    ],
)
async def test_a_hostile_traceparent_begins_a_trace_of_its_own(value):
    headers = {b"traceparent": value.encode("latin-1"), b"tracestate": b"es=s:x;;=,\xff"}
    with receiving() as received:
        (answer,) = await requested(received.port, [("GET", "/tasques/q/t", {"headers": headers})])

    received.check()
    (transaction,) = received.of("transaction")
    assert answer.status_code == 404
    assert transaction["trace_id"] != TRACE


async def test_probes_are_not_traced():
    with receiving() as received:
        await requested(
            received.port,
            [("GET", "/health/live", {}), ("GET", "/health/ready", {}), ("GET", "/metrics", {})],
        )

    assert received.of("transaction") == []


async def test_an_unexpected_error_is_reported_once_with_its_transaction_and_without_secrets(
    monkeypatch,
):
    password = "secret".upper()  # frames show the source around them

    async def fail(*_):
        raise RuntimeError(f"no http://user:{password}@es here")

    with receiving() as received:
        (answer,) = await requested(
            received.port,
            [("GET", "/tasques/q/t", {})],
            break_app=lambda api: monkeypatch.setattr(type(api.repository), "get", fail),
        )

    received.check()
    (transaction,) = received.of("transaction")
    (error,) = received.of("error")
    assert answer.status_code == 500
    assert transaction["outcome"] == "failure"
    assert error["transaction_id"] == transaction["id"]
    assert error["trace_id"] == transaction["trace_id"]
    assert error["exception"]["message"].endswith("no http://********@es here")
    assert password not in received.raw


async def test_the_line_of_a_request_has_the_ids_of_its_transaction(caplog):
    caplog.set_level(logging.INFO, logger="tasques.api.access")
    with receiving() as received:
        await requested(received.port, [("GET", "/tasques/q/t", {})])

    (line,) = [vars(each) for each in caplog.records if each.name == "tasques.api.access"]
    (transaction,) = received.of("transaction")
    assert line["trace.id"] == transaction["trace_id"]
    assert line["transaction.id"] == transaction["id"]


async def test_a_dead_apm_server_fails_no_request_and_the_token_is_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen: connections are refused
        answers = await requested(
            taken.getsockname()[1], [("POST", "/tasques", new_task(str(i))) for i in range(20)]
        )

    assert {answer.status_code for answer in answers} == {201}
    assert "T0K" not in "".join(str(vars(record)) for record in caplog.records)


def test_the_agents_own_variables_win_over_the_settings(monkeypatch):
    settings = ApmSettings(address="http://127.0.0.1:1", secret_token="settings")
    with receiving() as received:
        environ = {
            "ELASTIC_APM_SERVER_URL": f"http://127.0.0.1:{received.port}",
            "ELASTIC_APM_SECRET_TOKEN": "variable",
            "ELASTIC_APM_METRICS_INTERVAL": "0ms",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        agent = start_apm(settings, environ)
        assert agent is not None
        transaction = agent.tracer.begin("request")
        agent.tracer.end(transaction, "GET /x", "HTTP 2xx", "success")
        agent.close()

    assert received.tokens == {"Bearer variable"}


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        (ApmSettings(), {}),
        (ApmSettings(address="http://127.0.0.1:1"), {"ELASTIC_APM_ENABLED": "false"}),
    ],
)
def test_without_an_address_or_switched_off_there_is_no_agent(settings, environ):
    assert start_apm(settings, environ) is None


def test_the_agent_is_not_imported_if_it_is_off():
    program = (
        "import sys, tasques.server\n"
        "from tasques.apm import start_apm\n"
        "from tasques.settings.model import ApmSettings\n"
        "start_apm(ApmSettings(), {})\n"
        "sys.exit('elasticapm' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
