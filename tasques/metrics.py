"""Figures for Prometheus, if they are wanted: nothing of them is imported or run otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from tasques.api.metrics import Figures
from tasques.api.operations import claim_tasks
from tasques.domain.ports import TaskRepository
from tasques.observability.counting import CountingTaskRepository
from tasques.settings.model import MetricsSettings

if TYPE_CHECKING:
    from tasques.observability.metrics import Metrics

_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"  # the client library looks once, when imported


class NoDirectoryError(Exception):
    """There is no place for the figures of several processes; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedTasks:
    """The repository of tasks as each of its users has it: what they store is counted."""

    service: TaskRepository
    broker: TaskRepository
    giving_back: TaskRepository
    reaper: TaskRepository
    scheduler: TaskRepository


def start_metrics(settings: MetricsSettings) -> Metrics | None:
    """Begin to count in this process; None if that is switched off."""
    if not settings.enabled:
        return None
    from tasques.observability.metrics import Metrics  # noqa: PLC0415 - costs memory if it is off

    return Metrics(max_queues=settings.max_queues, long_poll=(claim_tasks.method, claim_tasks.path))


@contextmanager
def shared_metrics(settings: MetricsSettings) -> Iterator[Callable[[int], None]]:
    """Have the processes that are forked from this one share figures, which go away in the end.

    Returns:
        What is to be called with the number of a process that has ended: its counts stay, and
        what was the case in it is no longer.

    Raises:
        NoDirectoryError: no temporary file can be written.
    """
    if not settings.enabled:
        yield lambda _: None
        return
    try:
        directory = TemporaryDirectory(prefix="tasques-metrics-")
    except OSError as error:
        raise NoDirectoryError(
            "Several workers share their metrics in files, and there is no place for them: let "
            "TMPDIR name a directory that can be written, or switch metrics off "
            f"(metrics.enabled): {error.strerror or error}."
        ) from error
    with directory as path:
        os.environ[_DIRECTORY] = path
        try:
            yield _forget
        finally:
            del os.environ[_DIRECTORY]


def _forget(pid: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - seldom needed

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def figures(settings: MetricsSettings, metrics: Metrics | None) -> Figures | None:
    """What the HTTP side has to know."""
    if metrics is None:
        return None
    return Figures(render=metrics.render, answered=metrics.answered, public=settings.public)


def counted(tasks: TaskRepository, metrics: Metrics | None) -> CountedTasks:
    """The repository for each of its users."""
    if metrics is None:
        return CountedTasks(
            service=tasks, broker=tasks, giving_back=tasks, reaper=tasks, scheduler=tasks
        )
    counting = CountingTaskRepository
    return CountedTasks(
        service=counting(tasks, on_created=metrics.created, on_updated=metrics.changed),
        broker=counting(tasks, on_updated=metrics.claimed),
        giving_back=counting(tasks, on_updated=metrics.undone),
        reaper=counting(tasks, on_updated=metrics.timed_out),
        scheduler=counting(tasks, on_created=metrics.created),
    )
