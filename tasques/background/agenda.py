"""What the scheduler knows of all recurring tasks, and which of them need it when."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final

from tasques.domain.errors import CorruptDocumentError
from tasques.domain.recurring import BrokenRecurringTask, RecurringTask, StoredRecurringTask
from tasques.domain.task import Version

log = logging.getLogger(__name__)

KEPT_DELETED: Final = timedelta(minutes=1)
"""How long the cursor of a deleted one still guards its id: longer than clocks differ."""

_SPARE_ENTRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    version: Version | None
    task: RecurringTask | None
    at: datetime | None


class Agenda:
    """Recurring tasks in memory, and a heap of the instants at which they are due.

    What is due stays so until it is `put` in a newer version, or deferred.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._heap: list[tuple[datetime, str, Version | None]] = []
        self._due: dict[str, None] = {}
        self._unsettled: dict[str, None] = {}
        self._settled: dict[str, None] = {}
        self._outdated: dict[str, None] = {}
        self._deferred: dict[str, float] = {}

    @property
    def has_work(self) -> bool:
        """Whether something is left that need not wait for its instant."""
        return bool(self._due or self._unsettled or self._outdated)

    def clear(self) -> None:
        """Forget everything."""
        for known in (self._known, self._due, self._unsettled, self._settled):
            known.clear()
        self._outdated.clear()
        self._deferred.clear()
        self._heap.clear()

    def is_known(self, recurring_task_id: str, version: Version) -> bool:
        """Whether that version, or a later one, has been put."""
        known = self._known.get(recurring_task_id)
        if known is None or known.version is None:
            return False
        return (
            known.version.seq_no >= version.seq_no
            and known.version.primary_term >= version.primary_term
        )

    def put(self, stored: StoredRecurringTask, *, is_settled: bool = False) -> None:
        """Note how a recurring task is stored now; what is older than what is known is ignored.

        One that is broken is put aside, with one warning for each version; but what is pending
        in it is still of interest if it can be read.

        Args:
            stored: as it was read or written.
            is_settled: whether all that is pending is known to have been created.
        """
        before = self._known.get(stored.id)
        is_new = before is None or before.version != stored.version
        if is_new and stored.version is not None and self.is_known(stored.id, stored.version):
            return
        task, at, problem = _read(stored, before)
        self._forget_needs(stored.id)
        self._known[stored.id] = _Known(stored.version, task, at)
        if problem and is_new:
            log.warning(
                "a recurring task is broken and not followed",
                extra={"recurring_task_id": stored.id, "reason": problem},
            )
        if task is not None and task.pending:
            (self._settled if is_settled else self._unsettled)[task.id] = None
        if at is not None and stored.id not in self._unsettled:
            heappush(self._heap, (at, stored.id, stored.version))
            self._tidy()

    def remove(self, recurring_task_id: str) -> None:
        """Forget one that is there no more."""
        self._forget_needs(recurring_task_id)
        self._known.pop(recurring_task_id, None)

    def mark_outdated(self, recurring_task_id: str) -> None:
        """Note that it has to be read again before anything else is done with it."""
        self._forget_needs(recurring_task_id)
        self._outdated[recurring_task_id] = None

    def defer(self, recurring_task_id: str, until: float) -> None:
        """Leave one alone until a time of the monotonic clock; then it is outdated."""
        self._forget_needs(recurring_task_id)
        self._deferred[recurring_task_id] = until

    # ---------------------------------------------------------------- what is to be done

    def outdated(self, monotonic: float) -> list[str]:
        """The ids of those that have to be read again."""
        for each in [each for each, until in self._deferred.items() if until <= monotonic]:
            self.mark_outdated(each)
        return list(self._outdated)

    def unsettled(self) -> list[RecurringTask]:
        """Those with pending tasks that may have to be created."""
        return list(self._tasks(self._unsettled))

    def settled(self) -> list[RecurringTask]:
        """Those whose pending tasks have all been created, which can be written down."""
        return list(self._tasks(self._settled))

    def due(self, now: datetime) -> list[RecurringTask]:
        """Those that need something done by now, the longest overdue first."""
        while self._heap and self._heap[0][0] <= now:
            _, each, version = heappop(self._heap)
            if self._is_current(each, version):
                self._due[each] = None
        return list(self._tasks(self._due))

    def next_at(self) -> datetime | None:
        """When the next one is due that is not due yet; None: never, as things are."""
        while self._heap and not self._is_current(*self._heap[0][1:]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    # ---------------------------------------------------------------- inside

    def _tasks(self, ids: dict[str, None]) -> Iterator[RecurringTask]:
        for each in ids:
            if (task := self._known[each].task) is not None:
                yield task

    def _is_current(self, recurring_task_id: str, version: Version | None) -> bool:
        known = self._known.get(recurring_task_id)
        if known is None or known.version != version:
            return False
        return recurring_task_id not in self._outdated and recurring_task_id not in self._deferred

    def _forget_needs(self, recurring_task_id: str) -> None:
        for ids in (self._due, self._unsettled, self._settled, self._outdated):
            ids.pop(recurring_task_id, None)
        self._deferred.pop(recurring_task_id, None)

    def _tidy(self) -> None:
        """Drop the entries of earlier versions when they are too many."""
        if len(self._heap) > 2 * len(self._known) + _SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if self._is_current(*entry[1:])]
            heapify(self._heap)


def _read(
    stored: StoredRecurringTask, before: _Known | None
) -> tuple[RecurringTask | None, datetime | None, str]:
    """What can be read of it; when it fires next, or can be purged; and what is wrong with it."""
    task = stored.task if isinstance(stored, BrokenRecurringTask) else stored
    try:
        if task is not None and task.is_deleted:
            return task, task.modified_at + KEPT_DELETED, ""
        if isinstance(stored, BrokenRecurringTask):
            return task, None, stored.reason
        if before and before.at and before.task and _schedule(before.task) == _schedule(stored):
            return stored, before.at, ""
        return stored, stored.next_instant(), ""
    except (CorruptDocumentError, ArithmeticError) as error:
        return task, None, str(error)


def _schedule(task: RecurringTask) -> tuple[object, ...]:
    """All that the next need depends on: to find it takes longer than to compare this."""
    return (
        task.schedule_expression,
        task.time_zone,
        task.schedule_since,
        task.last_instant,
        task.paused,
        task.is_deleted,
    )
