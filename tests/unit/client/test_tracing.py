"""Requests and tasks belong to the trace that the program is in."""

from __future__ import annotations

import elasticapm
import httpx
import pytest
from opentelemetry import context, propagate, trace

from tasques.client import Client, NewTask
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

    assert sent_headers()["traceparent"].startswith(f"00-{TRACE_ID}-")

    agent.end_transaction("test", "ok")


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
