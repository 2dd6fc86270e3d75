"""What a server shows to Prometheus, read as Prometheus does."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """The value of each sample, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """One of them; None if it is not shown."""
    return samples(text).get((name, frozenset((labels or {}).items())))


def events(text: str) -> dict[tuple[str, str], float]:
    """How often what happened to tasks, by queue and event."""
    return {
        (dict(labels)["queue"], dict(labels)["event"]): value
        for (name, labels), value in samples(text).items()
        if name == "tasques_task_events_total"
    }
