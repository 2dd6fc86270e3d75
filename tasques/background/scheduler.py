"""Follows the schedules of all recurring tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NoReturn

from tasques.background.agenda import Agenda
from tasques.background.chore import UNOBSERVED, Chore, ChoreObserver
from tasques.background.enqueuer import Enqueuer
from tasques.background.service import do_pass
from tasques.domain.errors import RecurringTaskNotFoundError, TasquesError, VersionConflictError
from tasques.domain.ports import Clock, TaskRepository
from tasques.domain.recurring import RecurringTask
from tasques.domain.recurring_ports import ChangeMark, RecurringTaskRepository, RunRepository
from tasques.domain.task import Task

log = logging.getLogger(__name__)

_NAME: Final = "scheduler"
_AT_ONCE: Final = 2000  # recurring tasks in one batch
_READ_AT_ONCE: Final = 500
_WATCHING: Final = 0.2  # seconds between two looks whether this server leads
_PAUSE: Final = 1.0  # seconds after a failure


class Scheduler:
    """Enqueues the runs of recurring tasks while this server leads; a loop of its own.

    It wakes when something is due, when it is told of a change, and each interval, to learn what
    was changed through other servers. What it knows is never trusted: every write is conditional
    on the version that was judged.

    Attributes:
        passes: what is run as a pass; the scheduler itself, unless somebody wraps it.
    """

    def __init__(
        self,
        *,
        recurring_tasks: RecurringTaskRepository,
        tasks: TaskRepository,
        runs: RunRepository,
        offer: Callable[[Sequence[Task]], None],
        clock: Clock,
        is_leader: Callable[[], bool],
        interval: float,
        observer: ChoreObserver = UNOBSERVED,
    ) -> None:
        """Make a scheduler; its `run` has to be running.

        Args:
            recurring_tasks: where recurring tasks are.
            tasks: where their runs go.
            runs: knows what has become of those.
            offer: told of the tasks that were created.
            clock: tells what is due.
            is_leader: whether this server leads.
            interval: seconds from one look for changes to the next.
            observer: told of each pass.
        """
        self.name = _NAME
        self.interval = interval
        self.passes: Chore = self
        self._recurring_tasks = recurring_tasks
        self._clock = clock
        self._is_leader = is_leader
        self._observer = observer
        self._agenda = Agenda()
        self._enqueuer = Enqueuer(
            agenda=self._agenda,
            recurring_tasks=recurring_tasks,
            tasks=tasks,
            runs=runs,
            offer=offer,
            clock=clock,
            is_leader=is_leader,
            on_left=lambda count: observer.left(_NAME, count),
        )
        self._mark = ChangeMark()
        self._leading_since: datetime | None = None
        self._next_look = 0.0
        self._is_told = asyncio.Event()

    def notify(self, changed: RecurringTask) -> None:
        """Take note of a recurring task that was just written through this server."""
        if self._leading_since is not None:
            self._agenda.put(changed)
            self._is_told.set()

    async def run(self) -> NoReturn:
        """Follow the schedules whenever this server leads. See `Loop`."""
        while True:
            self._is_told.clear()
            pause = _WATCHING
            if not self._is_leader():
                self._forget()
            elif await do_pass(self.passes, self._clock, self._observer):
                pause = self._time_to_next()
            else:
                pause = _PAUSE
            await self._wait(pause)

    async def run_once(self) -> int:
        """Do what is to be done now, or a large part of it; return how many tasks were enqueued.

        Raises:
            TasquesError: it was broken off; the next pass goes on with what is left.
        """
        if self._leading_since is None:
            self._leading_since = self._clock.now()
        await self._look_for_changes()
        await self._read_outdated()
        enqueued = 0
        if unsettled := self._agenda.unsettled()[:_AT_ONCE]:
            enqueued += await self._enqueuer.finish(unsettled)
        due = self._agenda.due(self._clock.now())
        to_fire = [task for task in due if not task.is_deleted][:_AT_ONCE]
        enqueued += await self._enqueuer.fire(to_fire, leading_since=self._leading_since)
        if all(task.is_deleted for task in self._agenda.due(self._clock.now())):
            await self._enqueuer.settle(self._agenda.settled())
            await self._purge([task for task in due if task.is_deleted][:_READ_AT_ONCE])
        return enqueued

    # ---------------------------------------------------------------- what is known

    def _forget(self) -> None:
        if self._leading_since is not None:
            self._leading_since = None
            self._agenda.clear()
            self._mark = ChangeMark()
            self._next_look = 0.0

    async def _look_for_changes(self) -> None:
        """Learn what was changed; everything, when this server has just taken the lead."""
        if self._clock.monotonic() < self._next_look:
            return
        changes = await self._recurring_tasks.changed_since(self._mark, self._agenda.is_known)
        for number, stored in enumerate(changes.tasks, start=1):
            self._agenda.put(stored)
            if number % _READ_AT_ONCE == 0:
                await self._clock.sleep(0)  # so that the lease is renewed meanwhile
        self._mark = changes.mark
        self._next_look = self._clock.monotonic() + self.interval

    async def _read_outdated(self) -> None:
        ids = self._agenda.outdated(self._clock.monotonic())
        for start in range(0, len(ids), _READ_AT_ONCE):
            await asyncio.gather(*(self._read(each) for each in ids[start : start + _READ_AT_ONCE]))

    async def _read(self, recurring_task_id: str) -> None:
        try:
            self._agenda.put(await self._recurring_tasks.get(recurring_task_id))
        except RecurringTaskNotFoundError:
            self._agenda.remove(recurring_task_id)
        except TasquesError as error:
            self._put_off(recurring_task_id, error)

    async def _purge(self, deleted: Sequence[RecurringTask]) -> None:
        if deleted and self._is_leader():
            await asyncio.gather(*(self._purge_one(task) for task in deleted))

    async def _purge_one(self, task: RecurringTask) -> None:
        if task.pending or task.version is None:
            return  # it is about to be settled
        try:
            await self._recurring_tasks.purge(task.id, task.version)
            self._agenda.remove(task.id)
        except VersionConflictError:
            self._agenda.mark_outdated(task.id)
        except TasquesError as error:
            self._put_off(task.id, error)

    def _put_off(self, recurring_task_id: str, error: TasquesError) -> None:
        self._agenda.defer(recurring_task_id, self._clock.monotonic() + _PAUSE)
        self._observer.left(_NAME, 1)
        log.warning(
            "a recurring task is put off",
            extra={"recurring_task_id": recurring_task_id, "reason": str(error)},
        )

    # ---------------------------------------------------------------- waiting

    def _time_to_next(self) -> float:
        """Seconds until there is something to do, if nothing is changed."""
        if self._agenda.has_work:
            return 0.0
        pause = self._next_look - self._clock.monotonic()
        if (at := self._agenda.next_at()) is not None:
            pause = min(pause, (at - self._clock.now()).total_seconds())
        return max(0.0, pause)

    async def _wait(self, seconds: float) -> None:
        """Sleep, unless there is news."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        told = asyncio.ensure_future(self._is_told.wait())
        try:
            await asyncio.wait({sleeping, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            told.cancel()
