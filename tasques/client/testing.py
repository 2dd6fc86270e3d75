"""A server in memory, for the tests of programs that enqueue tasks or work on them.

::

    async def test_mails_are_sent():
        server = FakeServer()
        with server.client() as client:
            task = client.enqueue(NewTask("mails", "welcome", {"to": "ada@example.org"}))

        worker.client = server.async_client()
        await worker.drain()

        assert server.task(task).result.success == {"sent": True}

It does what a server does with tasks, but for archiving; recurring tasks are kept, and enqueue
something only when they are told to run.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

import httpx

from tasques.client.asynchronous import AsyncClient
from tasques.client.blocking import Client
from tasques.client.calls import WORKER_HEADER
from tasques.client.durations import read_duration
from tasques.client.errors import ApiError, api_error
from tasques.client.fake_recurring_tasks import FakeRecurringTasks
from tasques.client.fake_tasks import FakeTasks, Members
from tasques.client.models import Task
from tasques.client.wire import read_task
from tasques.clock import SystemClock

_LOOK_AGAIN: Final = 0.01  # seconds, while a claim waits
_URL: Final = "http://tasques.invalid"


class FakeServer:
    """A server in memory, with a clock that can be put forward. Threads may share it."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ahead = timedelta(0)
        self._lock = threading.Lock()
        self._tasks = FakeTasks(self._now)
        self._recurring_tasks = FakeRecurringTasks(self._tasks, self._now)

    def client(self) -> Client:
        """A blocking client of it."""
        return Client(_URL, transport=_Transport(self))

    def async_client(self) -> AsyncClient:
        """An asynchronous client of it."""
        return AsyncClient(_URL, transport=_AsyncTransport(self))

    def advance(self, duration: timedelta) -> None:
        """Let time pass: what was to be tried again is due, silent workers lose their claims."""
        self._ahead += duration

    def tasks(self) -> list[Task]:
        """All tasks as they are now, in the order of their creation."""
        with self._lock:
            return [read_task(each) for each in self._tasks.list_all()]

    def task(self, task: Task) -> Task:
        """A task as it is now."""
        with self._lock:
            return read_task(self._tasks.get(task.queue, task.id))

    def _now(self) -> datetime:
        return self._clock.now() + self._ahead

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the server says to a request; to a claim at once, also if there is nothing."""
        with self._lock:
            try:
                status, said = _status(request), self._route(request)
            except ApiError as error:
                status, said = error.status, {"message": str(error), "code": error.code}
        return httpx.Response(status, json=said, request=request)

    def _route(self, request: httpx.Request) -> Any:
        parts = _parts(request)
        members = json.loads(request.content or b"{}")
        said: Any
        if parts[0].startswith("recurring_tasques"):
            return self._route_recurring(request, parts[1:], members)
        worker_id = request.headers.get(WORKER_HEADER, "")
        trace = {"traceparent": request.headers.get("traceparent")}
        match request.method, parts[1:]:
            case "POST", ():
                said = self._tasks.create(members | trace)
            case "POST", ("claims",):
                said = self._tasks.claim(worker_id, members["queues"], members.get("amount", 1))
            case "POST", ("batch",):
                said = _each(members["tasks"], 201, lambda item: self._tasks.create(item | trace))
            case "POST", ("results", "batch"):
                said = _each(members["results"], 200, lambda item: self._end(item, worker_id))
            case "GET", (queue, task_id):
                said = self._tasks.get(queue, task_id)
            case "PUT", ("reports", queue, task_id):
                said = self._tasks.report(queue, task_id, worker_id, members.get("data"))
            case "PUT", (("done" | "failed") as outcome, queue, task_id):
                item = members | {"queue": queue, "id": task_id, "outcome": outcome}
                said = self._end(item, worker_id)
            case "DELETE", ("claims", queue, task_id):
                said = self._tasks.unclaim(queue, task_id, worker_id)
            case _:
                raise _NO_SUCH_ROUTE
        return said

    def _route_recurring(
        self, request: httpx.Request, parts: tuple[str, ...], members: Members
    ) -> Any:
        said: Any
        match request.method, parts:
            case "POST", ():
                said = self._recurring_tasks.create(members)
            case "GET", ():
                said = self._recurring_tasks.list_all()
            case "GET", (task_id,):
                said = self._recurring_tasks.get(task_id)
            case "PUT", (task_id,):
                said = self._recurring_tasks.update(task_id, members)
            case "DELETE", (task_id,):
                said = self._recurring_tasks.delete(task_id)
            case "GET", (task_id, _):
                self._recurring_tasks.get(task_id)
                said = []
            case "POST", (task_id, "run"):
                key = request.headers.get("idempotency-key")
                said = self._recurring_tasks.run(task_id, key)
            case _:
                raise _NO_SUCH_ROUTE
        return said

    def _end(self, item: Members, worker_id: str) -> Members:
        return self._tasks.finish(
            item["queue"], item["id"], worker_id, item["outcome"], item.get("data")
        )


_NO_SUCH_ROUTE: Final = api_error(404, message="No such route.", code="no_such_route")


def _parts(request: httpx.Request) -> tuple[str, ...]:
    path = request.url.raw_path.decode().partition("?")[0]
    return tuple(unquote(each) for each in path.split("/")[1:])


def _status(request: httpx.Request) -> int:
    """What a good answer has: two routes create something, and so does a run."""
    parts = _parts(request)
    is_new = request.method == "POST" and (len(parts) == 1 or parts[-1] == "run")
    return 201 if is_new else 200


def _each(items: list[Members], status: int, do: Callable[[Members], Members]) -> Members:
    outcomes: list[Members] = []
    for item in items:
        try:
            outcomes.append({"status": status, "task": do(item)})
        except ApiError as error:
            refused = {"message": str(error), "code": error.code}
            outcomes.append({"status": error.status, "error": refused})
    return {"items": outcomes}


def _looks(server: FakeServer, request: httpx.Request) -> Iterator[httpx.Response | None]:
    """The answer, or None while a claim has to wait."""
    until = time.perf_counter() + _blocks_for(request)
    while True:
        response = server.answer(request)
        if response.content == b"[]" and time.perf_counter() < until:
            yield None
        else:
            yield response
            return


def _blocks_for(request: httpx.Request) -> float:
    if request.url.path != "/tasques/claims":
        return 0.0
    return read_duration(json.loads(request.content)["block_for"]).total_seconds()


class _Transport(httpx.BaseTransport):
    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        for response in _looks(self._server, request):
            if response is not None:
                return response
            time.sleep(_LOOK_AGAIN)
        raise AssertionError("a claim ends with an answer")


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._clock = SystemClock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        for response in _looks(self._server, request):
            if response is not None:
                return response
            await self._clock.sleep(_LOOK_AGAIN)
        raise AssertionError("a claim ends with an answer")
