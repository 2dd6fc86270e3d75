"""Turns due instants of recurring tasks into tasks, in three steps.

1. The decision is written down: the cursor is moved, and the tasks to come are noted as pending.
   The write is conditional on what was judged, so of two that judge the same, one is refused.
2. The tasks are created, with ids that follow from the instants.
3. The note is cleared.

Whoever finds a note, after a crash or a failure, looks whether the tasks exist, in the archive
too, and creates those that do not. So an instant is neither lost nor enqueued twice, wherever
the steps are interrupted and by whom they are continued.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from tasques.background.agenda import Agenda
from tasques.domain.errors import (
    CorruptDocumentError,
    NotLeadingError,
    TaskAlreadyExistsError,
    TasquesError,
    UnavailableError,
    VersionConflictError,
)
from tasques.domain.firing import Decision, decide, run_of
from tasques.domain.ports import Clock, TaskRepository
from tasques.domain.recurring import PendingTask, RecurringTask
from tasques.domain.recurring_ports import RecurringTaskRepository, RunRepository
from tasques.domain.task import Task
from tasques.observability.tracing import current_traceparent

log = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds before something that could not be done is tried again
_LONG_PAUSE: Final = 60.0  # ... that is not likely to be better then
_JUDGED_AT_A_TURN: Final = 50
_PART: Final = 500
_ENOUGH_TASKS: Final = 4000  # for one batch; far less than may wait to be written


class Enqueuer:
    """Does the steps for many recurring tasks at once, and notes in the agenda how far it came."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        recurring_tasks: RecurringTaskRepository,
        tasks: TaskRepository,
        runs: RunRepository,
        offer: Callable[[Sequence[Task]], None],
        clock: Clock,
        is_leader: Callable[[], bool],
        on_left: Callable[[int], None],
    ) -> None:
        """Make an enqueuer.

        Args:
            agenda: what is known of the recurring tasks.
            recurring_tasks: where they are kept.
            tasks: where their runs go.
            runs: knows what has become of those.
            offer: told of the tasks that were created.
            clock: tells what is due.
            is_leader: whether this server leads.
            on_left: told how many recurring tasks are put off because of an error.
        """
        self._agenda = agenda
        self._recurring_tasks = recurring_tasks
        self._tasks = tasks
        self._runs = runs
        self._offer = offer
        self._clock = clock
        self._is_leader = is_leader
        self._on_left = on_left

    async def fire(self, due: Sequence[RecurringTask], *, leading_since: datetime) -> int:
        """Do what is due; returns how many tasks were created.

        Nothing may be pending in what is passed that was not created.
        """
        decisions = await self._without_outstanding(await self._judge(due, leading_since))
        parts = (decisions[at : at + _PART] for at in range(0, len(decisions), _PART))
        # Side by side, so that some are created while others are still written down.
        return sum(await asyncio.gather(*(self._enqueue(part) for part in parts)))

    async def finish(self, unsettled: Sequence[RecurringTask]) -> int:
        """Create what is pending and does not exist; returns how many tasks were created."""
        pending = [each for task in unsettled for each in task.pending]
        try:
            existing = await self._runs.existing(pending)
        except UnavailableError as error:
            self._put_off({task.id: error for task in unsettled})
            return 0
        missing = [
            (task, tuple(each for each in task.pending if each not in existing))
            for task in unsettled
        ]
        return await self._create(missing)

    async def settle(self, settled: Sequence[RecurringTask]) -> None:
        """Write down that nothing is pending any more."""
        if settled and self._is_leader():
            await self._write([task.settle() for task in settled])

    # ---------------------------------------------------------------- deciding

    async def _judge(self, due: Sequence[RecurringTask], leading_since: datetime) -> list[Decision]:
        now = self._clock.now()
        decisions: list[Decision] = []
        tasks = 0
        for number, task in enumerate(due, start=1):
            try:
                decision = decide(task, now, leading_since=leading_since)
            except (CorruptDocumentError, ArithmeticError) as error:
                self._put_off({task.id: CorruptDocumentError(task.id, str(error))})
                continue
            if decision is None:  # the clock was put back
                self._agenda.put(task, is_settled=True)
                continue
            decisions.append(decision)
            tasks += len(decision.instants)
            if tasks >= _ENOUGH_TASKS:
                break  # what is left stays due
            if number % _JUDGED_AT_A_TURN == 0:
                await self._clock.sleep(0)  # so that the lease is renewed meanwhile
        return decisions

    async def _without_outstanding(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Have those enqueue nothing that skip while an earlier task is unfinished."""
        asking = [
            each.task
            for each in decisions
            if each.instants and each.task.skip_if_outstanding_tasks_exist
        ]
        if not asking:
            return list(decisions)
        try:
            outstanding = await self._runs.outstanding(asking)
        except UnavailableError as error:
            uncertain = {task.id: error for task in asking}
            self._put_off(uncertain)
            return [each for each in decisions if each.task.id not in uncertain]
        return [each.without_tasks() if each.task.id in outstanding else each for each in decisions]

    # ---------------------------------------------------------------- the steps

    async def _enqueue(self, decisions: Sequence[Decision]) -> int:
        taken = await self._take(decisions)
        return await self._create([(task, task.pending) for task in taken])

    async def _take(self, decisions: Sequence[Decision]) -> list[RecurringTask]:
        if not decisions or not self._is_leader():
            return []
        at = self._clock.now()
        return await self._write([each.taken(at=at) for each in decisions])

    async def _create(self, wanted: Sequence[tuple[RecurringTask, Sequence[PendingTask]]]) -> int:
        at = self._clock.now()
        traceparent = current_traceparent()
        new = [
            run_of(task, each, at=at)._replace(traceparent=traceparent)
            for task, pending in wanted
            for each in pending
        ]
        outcomes = await self._tasks.create_all(new, may_write=self._is_leader) if new else ()
        self._offer([outcome for outcome in outcomes if isinstance(outcome, Task)])
        failures: dict[str, TasquesError] = {}
        for run, outcome in zip(new, outcomes, strict=True):
            if isinstance(outcome, Task):
                continue
            if isinstance(outcome, TaskAlreadyExistsError):
                # One that was not made here, for it has another incarnation.
                extra = {"queue": run.queue, "task_id": run.id}
                log.warning("the id of a run is taken by another task", extra=extra)
            elif run.recurring_task_id is not None:
                failures[run.recurring_task_id] = outcome
        for task, _ in wanted:
            if task.id not in failures:
                self._agenda.put(task, is_settled=True)
        self._put_off(failures)
        return sum(isinstance(outcome, Task) for outcome in outcomes)

    async def _write(self, tasks: Sequence[RecurringTask]) -> list[RecurringTask]:
        """Store recurring tasks; returns those for which that succeeded."""
        stored: list[RecurringTask] = []
        failures: dict[str, TasquesError] = {}
        for task, outcome in zip(tasks, await self._recurring_tasks.update_all(tasks), strict=True):
            if isinstance(outcome, RecurringTask):
                self._agenda.put(outcome)
                stored.append(outcome)
            elif isinstance(outcome, VersionConflictError):
                self._agenda.mark_outdated(task.id)
            else:
                failures[task.id] = outcome
        self._put_off(failures)
        return stored

    def _put_off(self, failures: Mapping[str, TasquesError]) -> None:
        """Try again later; by then nobody knows any more what has come of it."""
        now = self._clock.monotonic()
        for recurring_task_id, error in failures.items():
            is_passing = isinstance(error, (UnavailableError, NotLeadingError))
            self._agenda.defer(recurring_task_id, now + (_PAUSE if is_passing else _LONG_PAUSE))
        if failures:
            self._on_left(len(failures))
            recurring_task_id, error = next(iter(failures.items()))
            log.warning(
                "recurring tasks are put off",
                extra={
                    "count": len(failures),
                    "recurring_task_id": recurring_task_id,
                    "reason": str(error),
                },
            )
