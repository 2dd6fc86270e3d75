"""What clients send and get. All are frozen; instants are aware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

JsonObject = Mapping[str, Any]
"""Whatever `json` can write as an object. Integers are kept exactly, of any size."""

TaskState = Literal["queued", "claimed", "failed", "done", "dead"]
"""`failed` will be tried again, `dead` will not."""

MisfirePolicy = Literal["skip", "fire_once", "fire_all"]
"""What becomes of instants that passed while no server led."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to enqueue; what is None is up to the server.

    Attributes:
        queue: where to put it.
        kind: what is to be done; workers choose their handler by it.
        args: what the worker needs to know.
        id: unique in the queue. One of your own tells a task that you enqueue twice from two
            tasks; without, the client makes one.
        priority: higher ones are claimed first; 0 when None.
        retry_times: how often it is tried again after a failure.
        processing_timeout: how long its worker may be silent.
        run_at: not to be claimed before; at once when None.
        context: more for the worker, such as who asked.
    """

    queue: str
    kind: str
    args: JsonObject | None = None
    id: str | None = None
    priority: int | None = None
    retry_times: int | None = None
    processing_timeout: timedelta | None = None
    run_at: datetime | None = None
    context: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """Which write of a document this is."""

    seq_num: int
    primary_term: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """When something was made and last changed."""

    created_at: datetime
    modified_at: datetime
    version: Version


@dataclass(frozen=True, slots=True)
class Report:
    """The last sign of life of a worker."""

    at: datetime
    data: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How the last attempt ended; at most one of `success` and `failure` is there."""

    at: datetime
    success: JsonObject | None = None
    failure: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds a task, or held it last. `claim_id` tells this claim from every other one."""

    worker_id: str
    claimed_at: datetime
    times_out_at: datetime
    last_report: Report | None = None
    result: Result | None = None
    claim_id: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the server has it.

    Attributes:
        attempted: how often it was claimed, less how often it was given back.
        scheduled_for: the instant of the schedule that it stands for, if it is such a run.
        is_archived: it was moved to the archive: nothing changes it now.
        traceparent: the place in a trace that it belongs to; what is told about the task is told
            as part of the same, unless the program is in a trace of its own.
    """

    id: str
    queue: str
    kind: str
    state: TaskState
    priority: int
    retry_times: int
    attempted: int
    processing_timeout: timedelta
    run_at: datetime
    last_enqueued_at: datetime
    metadata: Metadata
    args: JsonObject | None = None
    context: JsonObject | None = None
    last_claimed: Claim | None = None
    recurring_task_id: str | None = None
    scheduled_for: datetime | None = None
    is_archived: bool = False
    traceparent: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it is done or dead: nobody will work on it any more."""
        return self.state in {"done", "dead"}

    @property
    def result(self) -> Result | None:
        """How its last attempt ended; None before that."""
        return None if self.last_claimed is None else self.last_claimed.result


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How an attempt ended at a task that was claimed."""

    task: Task
    outcome: Literal["done", "failed"]
    data: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """What the tasks are that a recurring task enqueues; as in `NewTask`."""

    queue: str
    kind: str
    args: JsonObject | None = None
    priority: int | None = None
    retry_times: int | None = None
    processing_timeout: timedelta | None = None
    context: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class NewRecurringTask:
    """A recurring task to make; what is None is up to the server.

    Attributes:
        schedule_expression: five fields of cron, six with seconds in front, `@hourly` and the
            like, or `@every 90s`.
        time_zone: the IANA name of the zone that the expression is meant in; UTC when None.
        skip_if_outstanding_tasks_exist: leave instants out while one of its tasks is unfinished.
    """

    id: str
    schedule_expression: str
    task_definition: TaskDefinition
    time_zone: str | None = None
    skip_if_outstanding_tasks_exist: bool | None = None
    paused: bool | None = None
    misfire_policy: MisfirePolicy | None = None


@dataclass(frozen=True, slots=True)
class RecurringTaskChange:
    """What to change of a recurring task; what is None stays. A definition is replaced whole."""

    schedule_expression: str | None = None
    task_definition: TaskDefinition | None = None
    time_zone: str | None = None
    skip_if_outstanding_tasks_exist: bool | None = None
    paused: bool | None = None
    misfire_policy: MisfirePolicy | None = None


@dataclass(frozen=True, slots=True)
class RecurringTask:
    """A recurring task as the server has it.

    Attributes:
        next_fire_at: None while it is paused, and if the schedule has no instant to come.
        last_fired_at: when its schedule last enqueued a task, whose id is `last_task_id`.
        error: why nothing is enqueued, if what is stored is broken.
    """

    id: str
    schedule_expression: str
    skip_if_outstanding_tasks_exist: bool
    task_definition: TaskDefinition
    metadata: Metadata
    time_zone: str | None = None
    paused: bool = False
    misfire_policy: MisfirePolicy = "fire_once"
    next_fire_at: datetime | None = None
    last_fired_at: datetime | None = None
    last_task_id: str | None = None
    error: str | None = None
