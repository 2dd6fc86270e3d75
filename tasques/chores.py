"""The chores of the leader, from settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tasques.background.archiver import Archiver
from tasques.background.chore import Chore, ChoreObserver
from tasques.background.reaper import Reaper
from tasques.background.roller import Roller
from tasques.background.scheduler import Scheduler
from tasques.background.slow import watched
from tasques.domain.ports import Clock, TaskArchive, TaskRepository
from tasques.domain.recurring_ports import RecurringTaskRepository, RunRepository
from tasques.domain.task import Task
from tasques.settings import ServerSettings

_ROLLER_INTERVAL: Final = 60.0


def leaders_chores(
    settings: ServerSettings,
    *,
    tasks: TaskRepository,
    archive: TaskArchive,
    is_leader: Callable[[], bool],
    clock: Clock,
    random: Random,
    observer: ChoreObserver,
) -> tuple[Chore, ...]:
    """Make all chores but the scheduler."""
    recurring = settings.recurring
    slow_after = settings.logging.slow_chore.total_seconds()
    chores = (
        Reaper(
            tasks=tasks,
            clock=clock,
            random=random,
            is_leader=is_leader,
            interval=recurring.timed_out_tasks_reaper.run_interval.total_seconds(),
            observer=observer,
        ),
        Archiver(
            archive=archive,
            clock=clock,
            older_than=recurring.tasks_archiver.archive_older_than,
            is_leader=is_leader,
            interval=recurring.tasks_archiver.run_interval.total_seconds(),
            observer=observer,
        ),
        Roller(archive=archive, is_leader=is_leader, interval=_ROLLER_INTERVAL),
    )
    return tuple(watched(chore, clock, slow_after=slow_after) for chore in chores)


def leaders_scheduler(
    settings: ServerSettings,
    *,
    recurring_tasks: RecurringTaskRepository,
    tasks: TaskRepository,
    runs: RunRepository,
    offer: Callable[[Sequence[Task]], None],
    is_leader: Callable[[], bool],
    clock: Clock,
    observer: ChoreObserver,
) -> Scheduler:
    """Make the loop that follows schedules; `offer` is told of the tasks that it enqueues."""
    scheduler = Scheduler(
        recurring_tasks=recurring_tasks,
        tasks=tasks,
        runs=runs,
        offer=offer,
        clock=clock,
        is_leader=is_leader,
        interval=settings.recurring.recurring_tasks.sync_run_interval.total_seconds(),
        observer=observer,
    )
    slow_after = settings.logging.slow_chore.total_seconds()
    scheduler.passes = watched(scheduler, clock, slow_after=slow_after)
    return scheduler
