"""What answers look like: for the API document only, nothing is built from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from tasques.api.members import MisfirePolicy
from tasques.domain.task import TaskState

Int32 = Annotated[int, Field(ge=0, json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
FreeForm = dict[str, Any]


class Version(BaseModel):
    """Which write of the task this is."""

    seq_num: Annotated[Int64, Field(description="Modulo 2^31, for clients that read 32 bits.")]
    primary_term: Int64


class Metadata(BaseModel):
    """When the task was made and last changed."""

    created_at: datetime
    modified_at: datetime
    version: Version


class Report(BaseModel):
    """The last sign of life of the worker."""

    at: datetime
    data: FreeForm | None = None


class Result(BaseModel):
    """How the last attempt ended; at most one of `failure` and `success` is there."""

    at: datetime
    failure: FreeForm | None = None
    success: FreeForm | None = None


class LastClaimed(BaseModel):
    """Who holds the task, or held it last."""

    worker_id: str
    claimed_at: datetime
    times_out_at: Annotated[
        datetime, Field(description="The attempt fails if the worker has not reported in by then.")
    ]
    last_report: Report | None = None
    result: Result | None = None
    claim_id: Annotated[str | None, Field(description="Tells this claim from every other one.")] = (
        None
    )


class Task(BaseModel):
    """A task. Members that have no value are absent, never null."""

    id: str
    queue: str
    retry_times: Int32
    attempted: Annotated[Int32, Field(description="How often it was claimed, less unclaims.")]
    kind: str
    state: Annotated[
        TaskState,
        Field(description="`failed` will be tried again, `dead` will not."),
    ]
    priority: Int64
    processing_timeout: Annotated[str, Field(description="Go's text form: `30m0s`, `1m30s`.")]
    run_at: datetime
    args: FreeForm | None = None
    context: FreeForm | None = None
    last_claimed: LastClaimed | None = None
    last_enqueued_at: datetime
    metadata: Metadata
    traceparent: Annotated[
        str | None,
        Field(
            description="The place in a trace that the task belongs to, in the form of W3C's "
            "header: what enqueued it. A worker that sends it back as the header `traceparent` is "
            "part of the same trace."
        ),
    ] = None
    recurring_task_id: Annotated[
        str | None, Field(description="Of which recurring task this is a run, if of any.")
    ] = None
    scheduled_for: Annotated[
        datetime | None,
        Field(description="The instant of the schedule that this run stands for."),
    ] = None
    archived: Annotated[
        bool | None,
        Field(description="True if the task was moved to the archive: nothing changes it now."),
    ] = None


class StoredTaskDefinition(BaseModel):
    """What the tasks are that a recurring task enqueues."""

    queue: str
    retry_times: Int32
    kind: str
    priority: Int64
    processing_timeout: Annotated[str, Field(description="Go's text form: `30m0s`, `1m30s`.")]
    args: FreeForm | None = None
    context: FreeForm | None = None


class RecurringTask(BaseModel):
    """A recurring task. Members that have no value are absent; only `next_fire_at` may be null."""

    id: str
    schedule_expression: str
    skip_if_outstanding_tasks_exist: bool
    task_definition: StoredTaskDefinition
    metadata: Metadata
    time_zone: Annotated[
        str | None, Field(description="As it was sent; UTC holds where there is none.")
    ] = None
    paused: bool | None = None
    misfire_policy: MisfirePolicy | None = None
    next_fire_at: Annotated[
        datetime | None,
        Field(description="Null while it is paused, and if the schedule has no instant to come."),
    ] = None
    last_fired_at: Annotated[
        datetime | None, Field(description="When its schedule last enqueued a task.")
    ] = None
    last_task_id: Annotated[str | None, Field(description="The id of that task.")] = None
    error: Annotated[
        str | None,
        Field(
            description="Why nothing is enqueued: what is stored is broken. Change the schedule, "
            "or delete the recurring task."
        ),
    ] = None


class Error(BaseModel):
    """Why a request was refused, or failed."""

    message: Annotated[str, Field(description="For people; several faults are one line each.")]
    code: Annotated[str, Field(description="For programs: these words do not change.")]


class BatchItem(BaseModel):
    """What became of one item: `task` if all went well, else `error`."""

    status: Annotated[Int32, Field(description="What a request for this item alone would get.")]
    task: Task | None = None
    error: Error | None = None


class Batch(BaseModel):
    """What became of the items, in their order."""

    items: list[BatchItem]


class Health(BaseModel):
    """That all is well."""

    status: str
    warnings: Annotated[
        list[str] | None,
        Field(description="What should be looked into although the server does its work."),
    ] = None


class Leader(BaseModel):
    """The server that does the chores."""

    leader_id: Annotated[str, Field(description="Random, new with every start of a server.")]
    host: str
    pid: Int64
    term: Annotated[Int64, Field(description="Grows with every change of the leader.")]
    since: Annotated[datetime, Field(description="When its term began, by its own clock.")]
    lease: Annotated[
        str, Field(description="How long the others wait for a sign of life of it: `5s`.")
    ]
    is_this_server: Annotated[
        bool, Field(description="Whether the server that answers leads at this very moment.")
    ]
    warnings: Annotated[
        list[str] | None,
        Field(description="What should be looked into on the server that answers."),
    ] = None
