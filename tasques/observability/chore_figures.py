"""Figures of the leader's work."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from tasques.domain.task import Task

_PASS_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300)
_LAG_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)


class ChoreFigures:
    """Counts what chores do, and how late schedules are followed. Implements `ChoreObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._passes = Histogram(
            "tasques_chore_pass_duration_seconds",
            "Passes of the leader's chores, by how they ended.",
            ("chore", "outcome"),
            buckets=_PASS_SECONDS,
            registry=registry,
        )
        self._items = Counter(
            "tasques_chore_items",
            "What chores have done: tasks failed, archived or enqueued, or indices begun.",
            ("chore",),
            registry=registry,
        )
        self._left = Counter(
            "tasques_chore_failures",
            "What chores could not do, and left for a later pass.",
            ("chore",),
            registry=registry,
        )
        self._lag = Histogram(
            "tasques_schedule_lag_seconds",
            "From the instant of a recurring task until a task was enqueued for it.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )

    def passed(self, chore: str, outcome: str, done: int, seconds: float) -> None:
        """Count a pass. See `ChoreObserver`."""
        self._passes.labels(chore, outcome).observe(seconds)
        self._items.labels(chore).inc(done)

    def left(self, chore: str, count: int) -> None:
        """Count what could not be done. See `ChoreObserver`."""
        self._left.labels(chore).inc(count)

    def fired(self, task: Task) -> None:
        """Count a task that was enqueued for an instant."""
        if task.scheduled_for is not None:
            lag = (task.created_at - task.scheduled_for).total_seconds()
            self._lag.observe(max(0.0, lag))
