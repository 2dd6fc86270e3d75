"""Figures for Prometheus, if they are wanted: nothing of them is imported or run otherwise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasques.api.metrics import Figures
from tasques.api.operations import claim_tasks
from tasques.background import chore
from tasques.background.chore import ChoreObserver
from tasques.background_tasks import BackgroundTasks
from tasques.domain.backlog import Backlog
from tasques.domain.ports import Clock, TaskRepository
from tasques.observability.counting import CountingTaskRepository
from tasques.repository import writes
from tasques.repository.backlogs import ElasticsearchBacklogs
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.writes import BulkObserver
from tasques.settings import ServerSettings
from tasques.settings.model import MetricsSettings
from tasques.shared_figures import shared_directory

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """What is told of the work behind the HTTP side."""

    bulk: BulkObserver
    chores: ChoreObserver


def observers(metrics: Metrics | None) -> Observers:
    """Who counts that work, if anybody does."""
    if metrics is None:
        return Observers(bulk=writes.UNOBSERVED, chores=chore.UNOBSERVED)
    return Observers(bulk=metrics.bulk, chores=metrics.chores)


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
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(shared_directory())
        except OSError as error:
            raise NoDirectoryError(
                "Several workers share their metrics in files, and there is no place for them: let "
                "TMPDIR name a directory that can be written, or switch metrics off "
                f"(metrics.enabled): {error.strerror or error}."
            ) from error
        os.environ[_DIRECTORY] = str(directory)
        try:
            yield _forget
        finally:
            del os.environ[_DIRECTORY]


def _forget(pid: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - seldom needed

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def backlogs(
    settings: ServerSettings, connection: Connection, clock: Clock
) -> ElasticsearchBacklogs:
    """What counts what is in the queues."""
    names = IndexNames(settings.elasticsearch.index_prefix)
    return ElasticsearchBacklogs(
        tasks_alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=connection,
        clock=clock,
        max_queues=settings.metrics.max_queues,
        request_timeout=settings.elasticsearch.request_timeout.total_seconds(),
    )


def figures(
    settings: MetricsSettings,
    metrics: Metrics | None,
    *,
    find_backlogs: Callable[[], Awaitable[Mapping[str | None, Backlog]]],
    clock: Clock,
    background: BackgroundTasks,
) -> Figures | None:
    """What the HTTP side has to know; `find_backlogs` counts what is in the queues."""
    if metrics is None:
        return None
    from tasques.observability.backlogs import BacklogFigures  # noqa: PLC0415 - as above

    in_queues = BacklogFigures(
        find_backlogs,
        clock=clock,
        background=background,
        interval=settings.queue_interval.total_seconds(),
    )

    async def render() -> bytes:
        await in_queues.refresh()
        # With several processes it reads files of all of them.
        return await asyncio.to_thread(lambda: metrics.render() + in_queues.render())

    return Figures(render=render, answered=metrics.answered, public=settings.public)


def counted(tasks: TaskRepository, metrics: Metrics | None) -> CountedTasks:
    """The repository for each of its users."""
    if metrics is None:
        return CountedTasks(
            service=tasks, broker=tasks, giving_back=tasks, reaper=tasks, scheduler=tasks
        )
    counting = CountingTaskRepository
    return CountedTasks(
        service=counting(tasks, on_created=metrics.created, on_updated=metrics.changed),
        broker=counting(tasks, on_created=metrics.created, on_updated=metrics.claimed),
        giving_back=counting(tasks, on_created=metrics.created, on_updated=metrics.undone),
        reaper=counting(tasks, on_updated=metrics.timed_out),
        scheduler=counting(tasks, on_created=metrics.fired),
    )
