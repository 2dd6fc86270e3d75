"""A recurring task: a definition that is enqueued on a schedule, again and again.

**What is due** are the instants of the schedule after both the cursor (`last_instant`, the last
one that was dealt with) and `schedule_since` (when the schedule came into force: at the creation,
at the last change of the expression or time zone, at the end of the last pause). So a schedule has
missed nothing in the time before it was in force, and nothing is due twice. While a recurring task
is paused or deleted nothing is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from tasques.domain.errors import CorruptDocumentError
from tasques.domain.instant import format_instant
from tasques.domain.schedule import InvalidScheduleError, Schedule
from tasques.domain.task import JsonText, Version


class MisfirePolicy(StrEnum):
    """What becomes of instants that passed while no server led."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """What the tasks are that a recurring task enqueues; defaults are filled in."""

    queue: str
    kind: str
    retry_times: int
    priority: int
    processing_timeout: timedelta
    args: JsonText | None = None
    context: JsonText | None = None
    unknown_members: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecurringTask:
    """What a client says of a recurring task that it makes; defaults are filled in."""

    id: str
    schedule_expression: str
    definition: TaskDefinition
    time_zone: str | None = None
    skip_if_outstanding_tasks_exist: bool = False
    paused: bool = False
    misfire_policy: MisfirePolicy = MisfirePolicy.FIRE_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTask:
    """A task that was decided on: it is in that queue, or has to be put there.

    `instant` is the one of the schedule that it stands for.
    """

    queue: str
    task_id: str
    instant: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringTask:
    """A recurring task as it is stored.

    Attributes:
        schedule_expression: as it was sent; a prefix in it goes before `time_zone`.
        skip_if_outstanding_tasks_exist: enqueue nothing while an earlier task is unfinished.
        modified_at: of the last change by a client; that it fired is none.
        schedule_since: when the schedule came into force.
        last_instant: the cursor; None before the first instant was dealt with.
        pending: the tasks of that instant, or of those caught up with it, that may have to be
            created still; an update or deletion leaves them alone.
        last_fired_at: when a task was last enqueued by the schedule.
        last_task_id: the id of that task.
        is_deleted: clients do not see it any more; it goes when nothing is pending.
        incarnation: tells it from an earlier one of the same id.
        version: of the document that was read or written; None before the first write.
        unknown_members: from a newer Tasques, written back as they were; so are `unknown_metadata`,
            and those of the definition unless a client replaces it.
    """

    id: str
    schedule_expression: str
    definition: TaskDefinition
    created_at: datetime
    modified_at: datetime
    schedule_since: datetime
    incarnation: str
    time_zone: str | None = None
    skip_if_outstanding_tasks_exist: bool = False
    paused: bool = False
    misfire_policy: MisfirePolicy = MisfirePolicy.FIRE_ONCE
    last_instant: datetime | None = None
    pending: tuple[PendingTask, ...] = ()
    last_fired_at: datetime | None = None
    last_task_id: str | None = None
    is_deleted: bool = False
    version: Version | None = None
    unknown_members: Mapping[str, object] = field(default_factory=dict)
    unknown_metadata: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def start(cls, new: NewRecurringTask, *, at: datetime, incarnation: str) -> RecurringTask:
        """The recurring task at its creation."""
        return cls(
            id=new.id,
            schedule_expression=new.schedule_expression,
            definition=new.definition,
            time_zone=new.time_zone,
            skip_if_outstanding_tasks_exist=new.skip_if_outstanding_tasks_exist,
            paused=new.paused,
            misfire_policy=new.misfire_policy,
            created_at=at,
            modified_at=at,
            schedule_since=at,
            incarnation=incarnation,
        )

    @property
    def schedule(self) -> Schedule:
        """The schedule, read.

        Raises:
            CorruptDocumentError: what is stored is none, here and now.
        """
        try:
            return _read_schedule(self.schedule_expression, self.time_zone)
        except InvalidScheduleError as error:
            raise CorruptDocumentError(self.id, f"schedule_expression: {error}") from error

    @property
    def is_active(self) -> bool:
        """Whether its schedule is followed."""
        return not (self.paused or self.is_deleted)

    @property
    def due_after(self) -> datetime:
        """The instants of the schedule after this one are due, or will be."""
        return max(self.schedule_since, self.last_instant or self.schedule_since)

    def next_instant(self) -> datetime | None:
        """The first instant that was not dealt with, which may have passed; None: never."""
        if not self.is_active:
            return None
        return self.schedule.next_after(self.due_after, anchor=self.schedule_since)

    def due(self, until: datetime, *, limit: int) -> list[datetime]:
        """The instants up to and with `until` that were not dealt with, the first `limit`."""
        if not self.is_active:
            return []
        return self.schedule.between(self.due_after, until, limit=limit, anchor=self.schedule_since)

    def next_fire_at(self, now: datetime) -> datetime | None:
        """The first instant after `now`; None: never, as things are."""
        upcoming = self.upcoming(now, 1)
        return upcoming[0] if upcoming else None

    def upcoming(self, now: datetime, count: int) -> list[datetime]:
        """The next instants after `now`; fewer than `count` if there are no more."""
        if not self.is_active:
            return []
        after = max(now, self.due_after)
        return self.schedule.upcoming(after, count, anchor=self.schedule_since)

    def task_id(self, instant: datetime) -> str:
        """The id of the task that stands for an instant, whoever enqueues it."""
        return f"{self.id}@{format_instant(instant)}"

    # ---------------------------------------------------------------- moves

    def update(
        self,
        *,
        at: datetime,
        schedule_expression: str | None = None,
        time_zone: str | None = None,
        skip_if_outstanding_tasks_exist: bool | None = None,
        definition: TaskDefinition | None = None,
        paused: bool | None = None,
        misfire_policy: MisfirePolicy | None = None,
    ) -> RecurringTask:
        """The recurring task with everything changed that is given."""
        given = {
            "schedule_expression": schedule_expression,
            "time_zone": time_zone,
            "skip_if_outstanding_tasks_exist": skip_if_outstanding_tasks_exist,
            "definition": definition,
            "paused": paused,
            "misfire_policy": misfire_policy,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        changed = replace(self, modified_at=at, **changes)  # type: ignore[arg-type]  # as declared
        is_new_schedule = (changed.schedule_expression, changed.time_zone) != (
            self.schedule_expression,
            self.time_zone,
        )
        if is_new_schedule or (self.paused and not changed.paused):
            return replace(changed, schedule_since=at)
        return changed

    def delete(self, *, at: datetime) -> RecurringTask:
        """The recurring task as clients left it: gone, but for what is pending."""
        return replace(self, is_deleted=True, modified_at=at)

    def replacing(self, deleted: RecurringTask) -> RecurringTask:
        """This new recurring task in place of a deleted one, of which it finishes what is pending.

        It takes the cursor as well: an instant that the deleted one has dealt with is not due
        again, whatever the clocks of two servers say.
        """
        return replace(
            self,
            last_instant=deleted.last_instant,
            pending=deleted.pending,
            version=deleted.version,
        )

    def advance(
        self, last_instant: datetime, *, pending: tuple[PendingTask, ...], at: datetime
    ) -> RecurringTask:
        """The recurring task with its cursor moved, and with the tasks that it decided on."""
        moved = replace(self, last_instant=last_instant, pending=pending)
        if not pending:
            return moved
        return replace(moved, last_fired_at=at, last_task_id=pending[-1].task_id)

    def settle(self) -> RecurringTask:
        """The recurring task when everything pending has been created."""
        return replace(self, pending=())


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRecurringTask:
    """A stored recurring task that can not be followed; it must disturb no other.

    `task` is there if only its schedule makes no sense; `members` are what is stored.
    """

    id: str
    reason: str
    version: Version
    task: RecurringTask | None = None
    members: Mapping[str, object] = field(default_factory=dict)


StoredRecurringTask = RecurringTask | BrokenRecurringTask


@lru_cache(maxsize=16_384)
def _read_schedule(expression: str, time_zone: str | None) -> Schedule:
    return Schedule.parse(expression, time_zone=time_zone)
