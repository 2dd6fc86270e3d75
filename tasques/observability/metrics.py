"""Figures for Prometheus. Import this module only if they are wanted.

With several server processes, `PROMETHEUS_MULTIPROC_DIR` has to be set before the first import:
the client library then keeps the figures in files there, and shows the sums of all processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from tasques.domain.ports import Clock
from tasques.domain.task import Task, TaskState
from tasques.observability.bulk_figures import BulkFigures
from tasques.observability.chore_figures import ChoreFigures

# Half of all that is shown, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
OTHER: Final = "other"
"""The label of queues beyond the limit, of unknown routes, and of unusual methods."""

_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
_EVENT_OF: Final = {
    TaskState.QUEUED: "unclaimed",
    TaskState.FAILED: "failed",
    TaskState.DEAD: "dead",
    TaskState.DONE: "done",
}
_REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_POLL_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 60)
_WAIT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 900, 3600)
_WATCH_INTERVAL: Final = 1.0


class Metrics:
    """The figures of one server process. Not for several threads, but for `render`.

    What happens to tasks is counted when it is certainly stored.

    Attributes:
        bulk: figures of the coalesced writes.
        chores: figures of the leader's work.
    """

    def __init__(self, *, max_queues: int, long_poll: tuple[str, str]) -> None:
        """Make figures that are all zero.

        Args:
            max_queues: so many queues have a label of their own, first come first served.
            long_poll: the method and the route's template of requests that last as long as the
                client wants.
        """
        self._max_queues = max_queues
        self._long_poll = long_poll
        self._queues: set[str] = set()
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "tasques_http_request_duration_seconds",
            "Requests but for claims and probes, by the template of the route.",
            ("method", "route", "status"),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._polls = Histogram(
            "tasques_claim_request_duration_seconds",
            "Requests for claims, the wait for a task included.",
            ("status",),
            buckets=_POLL_SECONDS,
            registry=registry,
        )
        self._events = Counter(
            "tasques_task_events",
            "What has happened to tasks.",
            ("queue", "event"),
            registry=registry,
        )
        self._waits = Histogram(
            "tasques_task_wait_seconds",
            "From when a task was due until it was claimed.",
            ("queue",),
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self._parked = Gauge(
            "tasques_parked_claims",
            "Claims that wait for a task.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._leader = Gauge(
            "tasques_leader",
            "Whether this server leads.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.bulk = BulkFigures(registry)
        self.chores = ChoreFigures(registry)
        # Looking a child up costs more than counting with it.
        self._request_children: dict[tuple[str, str | None, int], Histogram] = {}
        self._event_children: dict[tuple[str, str], Counter] = {}
        self._wait_children: dict[str, Histogram] = {}

    def render(self) -> bytes:
        """Everything in Prometheus' text format, of all processes; may run in any thread."""
        if DIRECTORY not in os.environ:
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
        return generate_latest(of_all)

    async def watch(
        self, clock: Clock, *, parked: Callable[[], int], is_leader: Callable[[], bool]
    ) -> None:
        """Keep the figures up to date that are no counts; never returns by itself."""
        while True:
            self._parked.set(parked())
            self._leader.set(is_leader())
            await clock.sleep(_WATCH_INTERVAL)

    # ---------------------------------------------------------------- requests

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: of HTTP.
            route: its template; None if there is none.
            status: of the answer.
            seconds: until the answer was sent.
        """
        key = (method if method in _METHODS else OTHER, route, status)
        child = self._request_children.get(key)
        if child is None:
            child = self._request_children[key] = self._request_child(*key)
        child.observe(seconds)

    def _request_child(self, method: str, route: str | None, status: int) -> Histogram:
        if (method, route) == self._long_poll:
            return self._polls.labels(str(status))
        return self._requests.labels(method, route or OTHER, str(status))

    # ---------------------------------------------------------------- tasks

    def created(self, task: Task) -> None:
        """Count a task that was enqueued, and its claim, if a worker had waited for it."""
        self._count(task, "created")
        if task.state is TaskState.CLAIMED:
            self.claimed(task)

    def fired(self, task: Task) -> None:
        """Count a task that was enqueued for a recurring task."""
        self.created(task)
        self.chores.fired(task)

    def changed(self, task: Task) -> None:
        """Count what a worker said of its task: how the attempt ended; reports do not count."""
        event = _EVENT_OF.get(task.state)
        if event is not None:
            self._count(task, event)

    def claimed(self, task: Task) -> None:
        """Count a claim, and how long the task was due before it."""
        self._count(task, "claimed")
        if task.last_claimed is None:
            return
        due = max(task.run_at, task.last_enqueued_at)
        waited = (task.last_claimed.claimed_at - due).total_seconds()
        queue = self._label_of(task.queue)
        child = self._wait_children.get(queue)
        if child is None:
            child = self._wait_children[queue] = self._waits.labels(queue)
        child.observe(max(0.0, waited))  # clocks of two servers differ a little

    def undone(self, task: Task) -> None:
        """Count a claim that was taken back because its answer could not be delivered."""
        self._count(task, "claim_undone")

    def timed_out(self, task: Task) -> None:
        """Count a claim whose time was over, and a task that is dead because of that."""
        self._count(task, "timed_out")
        if task.state is TaskState.DEAD:
            self._count(task, "dead")

    def _count(self, task: Task, event: str) -> None:
        key = (self._label_of(task.queue), event)
        child = self._event_children.get(key)
        if child is None:
            child = self._event_children[key] = self._events.labels(*key)
        child.inc()

    def _label_of(self, queue: str) -> str:
        if queue in self._queues:
            return queue
        if len(self._queues) >= self._max_queues:
            return OTHER
        self._queues.add(queue)
        return queue
