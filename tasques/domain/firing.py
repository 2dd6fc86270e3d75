"""What the scheduler decides: pure functions of a recurring task and the time.

**Missed** is an instant that passed while no server led, or that could not be dealt with for
longer than `PATIENCE`. Missed instants are the affair of the policy: `skip` drops them, `fire_once`
fires the last of them unless a later instant fires anyway, `fire_all` fires each of the latest
`MAX_MISSED`. All others fire, whatever the policy, also when several come at once.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from tasques.domain.recurring import MisfirePolicy, PendingTask, RecurringTask
from tasques.domain.task import NewTask, Task

MAX_MISSED: Final = 1000
"""So many instants are caught up at most."""

MAX_AT_ONCE: Final = 100
"""So many tasks of one recurring task are decided on at once: the document names them all."""

PATIENCE: Final = timedelta(seconds=10)
"""How late a leader may be without missing an instant."""

ON_TIME: Final = timedelta(seconds=1)
"""What is not later than this is never missed."""

_ENOUGH: Final = 16  # instants, which are a second apart at least: more than are on time at once
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of the instants of a recurring task that are due.

    Attributes:
        task: in the version that was judged.
        instants: those to enqueue a task for, in their order; none if all are dropped.
        cursor: the last instant that is dealt with by this.
    """

    task: RecurringTask
    instants: tuple[datetime, ...]
    cursor: datetime

    def without_tasks(self) -> Decision:
        """The same with nothing to enqueue: an earlier task is outstanding."""
        return replace(self, instants=())

    def taken(self, *, at: datetime) -> RecurringTask:
        """The recurring task with the decision written down."""
        queue = self.task.definition.queue
        pending = tuple(
            PendingTask(queue=queue, task_id=self.task.task_id(instant), instant=instant)
            for instant in self.instants
        )
        return self.task.advance(self.cursor, pending=pending, at=at)


def decide(task: RecurringTask, now: datetime, *, leading_since: datetime) -> Decision | None:
    """Judge what is due; None if nothing is.

    Args:
        task: as it is stored.
        now: the time.
        leading_since: when this server took the lead; nobody led just before that.

    Raises:
        CorruptDocumentError: the schedule makes no sense.
    """
    fires_all = task.misfire_policy is MisfirePolicy.FIRE_ALL
    due = _latest_due(task, now, MAX_MISSED if fires_all else _ENOUGH)
    if not due:
        return None
    instants = due
    if not fires_all:
        instants = [each for each in due if _is_on_time(each, now, leading_since)]
        if not instants and task.misfire_policy is MisfirePolicy.FIRE_ONCE:
            instants = due[-1:]
    if task.skip_if_outstanding_tasks_exist:
        instants = instants[-1:]
    if len(instants) <= MAX_AT_ONCE:
        return Decision(task, tuple(instants), due[-1])
    return Decision(task, tuple(instants[:MAX_AT_ONCE]), instants[MAX_AT_ONCE - 1])


def run_of(task: RecurringTask, pending: PendingTask, *, at: datetime) -> Task:
    """The task that stands for an instant.

    Its incarnation follows from its id, so that whoever enqueues it enqueues the same, and even
    an archive that is given it twice keeps one.
    """
    definition = task.definition
    new = NewTask(
        id=pending.task_id,
        queue=pending.queue,
        kind=definition.kind,
        priority=definition.priority,
        retry_times=definition.retry_times,
        processing_timeout=definition.processing_timeout,
        run_at=pending.instant,
        args=definition.args,
        context=definition.context,
        recurring_task_id=task.id,
        scheduled_for=pending.instant,
    )
    mark = sha256(pending.task_id.encode()).digest()[:16]
    incarnation = urlsafe_b64encode(mark).decode("ascii").rstrip("=")
    return Task.enqueue(new, at=at, incarnation=incarnation)


def _is_on_time(instant: datetime, now: datetime, leading_since: datetime) -> bool:
    late = now - instant
    return late <= ON_TIME or (instant >= leading_since and late <= PATIENCE)


def _latest_due(task: RecurringTask, now: datetime, count: int) -> list[datetime]:
    """The latest instants that are due, at most `count`, in their order.

    Schedules look only ahead, so when there are more, it is searched for a span of time that has
    enough but not many more.
    """
    due = task.due(now, limit=count + 1)
    if len(due) <= count:
        return due

    def last(span: timedelta) -> list[datetime]:
        start = max(task.due_after, now - span)
        return task.schedule.between(start, now, limit=2 * count + 1, anchor=task.schedule_since)

    span = count * _SECOND
    while len(due := last(span)) < count:
        span *= 2
    few, many = span / 2, span
    while len(due) > 2 * count:  # at times they come in crowds
        middle = (few + many) / 2
        found = last(middle)
        if len(found) < count:
            few = middle
        else:
            many, due = middle, found
    return due[-count:]
