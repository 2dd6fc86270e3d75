"""Requests and tasks belong to the trace that the program is in."""

from __future__ import annotations

import elasticapm
import httpx
import pytest
from opentelemetry import context, propagate, trace

from tasques.client import Client, NewTask, TaskResult
from tasques.client.testing import FakeServer
from tasques.worker import Worker

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE_PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Agent(elasticapm.Client):
    """Keeps what it would send."""

    def queue(self, event_type, data, flush=False):  # noqa: FBT002 - as the agent has it
        self.events.append((event_type, data))


@pytest.fixture
def agent():
    agent = Agent.__new__(Agent)
    agent.events = []
    agent.__init__(
        service_name="tests",
        central_config=False,
        cloud_provider=False,
        disable_log_record_factory=True,  # it would stay for the whole process
        disable_send=True,
        instrument=False,
        metrics_interval="0ms",
    )
    yield agent
    agent.close()
    elasticapm.base.set_client(None)


def sent_headers():
    """The headers of a request that is made now."""
    seen = []

    def answer(request):
        seen.append(request.headers)
        return httpx.Response(200, json=[])

    with Client("http://tasques.invalid", transport=httpx.MockTransport(answer)) as client:
        client.list_recurring_tasks()
    return seen[0]


def test_a_request_outside_of_a_trace_says_nothing():
    assert "traceparent" not in sent_headers()


def test_a_request_is_part_of_a_trace_of_opentelemetry():
    token = context.attach(propagate.extract({"traceparent": TRACE_PARENT}))
    try:
        assert trace.get_current_span().get_span_context().is_valid
        assert sent_headers()["traceparent"] == TRACE_PARENT
    finally:
        context.detach(token)


def test_a_request_is_part_of_a_trace_of_elastic_apm(agent):
    agent.begin_transaction("test", trace_parent=elasticapm.trace_parent_from_string(TRACE_PARENT))

    header = sent_headers()["traceparent"]

    agent.end_transaction("test", "ok")
    ((_, transaction),) = agent.events
    assert header == f"00-{TRACE_ID}-{transaction['id']}-01"


def made_headers(server):
    """The traces of all requests that are made of a server from now on, by path."""
    seen = []
    answer = server.answer

    def noting(request):
        seen.append((request.url.path, request.headers.get("traceparent")))
        return answer(request)

    server.answer = noting
    return seen


def enqueue_traced(client, **members):
    """Enqueue as part of a trace, and leave it."""
    token = context.attach(propagate.extract({"traceparent": TRACE_PARENT}))
    try:
        return client.enqueue(NewTask("mails", "good", **members))
    finally:
        context.detach(token)


def test_what_is_told_about_a_task_is_part_of_its_trace_by_itself():
    server = FakeServer()
    with server.client() as client:
        enqueue_traced(client)
        enqueue_traced(client)
        seen = made_headers(server)
        first, second = client.claim(["mails"], worker_id="w", amount=2)
        client.report(first)
        client.done(first)
        client.finish_many([TaskResult(second, "failed")])

    assert first.traceparent == TRACE_PARENT
    assert [(path.split("/")[2], parent) for path, parent in seen] == [
        ("claims", None),
        ("reports", TRACE_PARENT),
        ("done", TRACE_PARENT),
        ("results", TRACE_PARENT),
    ]


def test_results_of_several_traces_in_one_request_are_part_of_none():
    server = FakeServer()
    with server.client() as client:
        enqueue_traced(client)
        client.enqueue(NewTask("mails", "good"))
        seen = made_headers(server)
        tasks = client.claim(["mails"], worker_id="w", amount=2)
        client.finish_many([TaskResult(task, "done") for task in tasks])

    assert seen[-1] == ("/tasques/results/batch", None)


async def test_the_result_of_a_worker_is_part_of_the_trace_of_its_work(agent):
    server = FakeServer()
    worker = Worker(server.async_client(), queues=["mails"])

    @worker.handler("good")
    async def good(_):
        return None

    with server.client() as client:
        enqueue_traced(client)
    seen = made_headers(server)
    await worker.drain()

    (transaction,) = (data for kind, data in agent.events if kind == "transaction")
    (result,) = (parent for path, parent in seen if path == "/tasques/results/batch")
    assert transaction["trace_id"] == TRACE_ID
    assert transaction["parent_id"] == "b7ad6b7169203331"
    assert result == f"00-{TRACE_ID}-{transaction['id']}-01"


async def test_a_task_is_a_transaction_of_elastic_apm(agent):
    server = FakeServer()
    worker = Worker(server.async_client(), queues=["mails"])

    @worker.handler("good")
    async def good(_):
        return None

    @worker.handler("bad")
    def bad(_):
        raise ValueError("no")

    with server.client() as client:
        client.enqueue(NewTask("mails", "good", context={"traceparent": TRACE_PARENT}, id="1"))
        client.enqueue(NewTask("mails", "bad"))
    await worker.drain()

    transactions = {data["name"]: data for kind, data in agent.events if kind == "transaction"}
    assert {name: each["result"] for name, each in transactions.items()} == {
        "mails good": "done",
        "mails bad": "failed",
    }
    assert transactions["mails good"]["trace_id"] == TRACE_ID
    assert transactions["mails good"]["outcome"] == "success"
    assert transactions["mails good"]["context"]["tags"]["task_id"] == "1"
    assert transactions["mails bad"]["outcome"] == "failure"
    assert [data["exception"]["type"] for kind, data in agent.events if kind == "error"] == [
        "ValueError"
    ]
