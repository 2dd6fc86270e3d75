"""Figures of the coalesced writes."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_OPERATIONS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
_NO_ANSWER: Final = "none"


class BulkFigures:
    """Counts what the writer does. Implements its `BulkObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Histogram(
            "tasques_bulk_request_duration_seconds",
            "Requests that write to Elasticsearch, by the status of the answer.",
            ("status",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._sizes = Histogram(
            "tasques_bulk_request_operations",
            "Writes in one request.",
            buckets=_OPERATIONS,
            registry=registry,
        )
        self._repeated = Counter(
            "tasques_bulk_repeated_operations",
            "Writes that were sent once more.",
            registry=registry,
        )
        self._operations = Counter(
            "tasques_bulk_operations",
            "What became of writes, each time that they were sent.",
            ("result",),
            registry=registry,
        )
        # Looking a child up costs more than counting with it.
        self._request_children: dict[int | None, Histogram] = {}
        self._operation_children: dict[str, Counter] = {}

    def answered(
        self, status: int | None, seconds: float, *, operations: int, repeated: int
    ) -> None:
        """Count a request. See `BulkObserver`."""
        child = self._request_children.get(status)
        if child is None:
            label = _NO_ANSWER if status is None else str(status)
            child = self._request_children[status] = self._requests.labels(label)
        child.observe(seconds)
        self._sizes.observe(operations)
        if repeated:
            self._repeated.inc(repeated)

    def settled(self, result: str, count: int = 1) -> None:
        """Count results of writes. See `BulkObserver`."""
        child = self._operation_children.get(result)
        if child is None:
            child = self._operation_children[result] = self._operations.labels(result)
        child.inc(count)
