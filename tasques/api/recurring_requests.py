"""What clients send about recurring tasks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from tasques.api.members import (
    FreeForm,
    Int32,
    Int64,
    Kind,
    MisfirePolicy,
    QueueName,
    RecurringTaskId,
    ScheduleExpression,
    Timeout,
    TimeZone,
    refused,
)
from tasques.api.requests import RequestBody, RequestDefaults
from tasques.domain import recurring as domain
from tasques.domain.errors import InvalidRequestError
from tasques.services.recurring_tasks import Change


class TaskDefinition(RequestBody):
    """What the enqueued tasks are. Settings of the server fill in what is absent, for good."""

    queue: Annotated[QueueName, Field(description="The queue that the tasks go to.")]
    kind: Annotated[Kind, Field(description="What is to be done; workers choose by it.")]
    retry_times: Annotated[
        Annotated[Int32, Field(ge=0, le=2**31 - 1)] | None,
        Field(description="How often a task is tried again; a setting when absent."),
    ] = None
    priority: Annotated[
        Annotated[Int64, Field(ge=-(2**63), le=2**63 - 1)] | None,
        Field(description="Tasks of a higher priority are claimed first; 0 when absent."),
    ] = None
    processing_timeout: Annotated[
        Timeout | None,
        Field(description="How long a worker may be silent; a setting when absent."),
    ] = None
    args: Annotated[FreeForm | None, Field(description="What the worker needs to know.")] = None
    context: Annotated[FreeForm | None, Field(description="More of it.")] = None

    def to_domain(self, defaults: RequestDefaults) -> domain.TaskDefinition:
        """The definition with everything filled in that was not said."""
        return domain.TaskDefinition(
            queue=self.queue,
            kind=self.kind,
            priority=self.priority or 0,
            retry_times=defaults.retry_times if self.retry_times is None else self.retry_times,
            processing_timeout=self.processing_timeout or defaults.processing_timeout,
            args=self.args,
            context=self.context,
        )


def _definition(value: Any, member: ValidationInfo) -> TaskDefinition:
    name = member.field_name
    if not isinstance(value, dict):
        raise refused(f"{name}: must be a JSON object")
    try:
        return TaskDefinition.read(value)
    except InvalidRequestError as error:
        raise refused(*(f"{name}.{problem}" for problem in error.problems)) from error


_Definition = Annotated[TaskDefinition, BeforeValidator(_definition)]
_Expression = Annotated[
    ScheduleExpression,
    Field(
        description="Five fields of cron (minute, hour, day of month, month, day of week), six "
        "with leading seconds, `@hourly` and the like, or `@every 90s`; with `TZ=Europe/Berlin ` "
        "in front if you like.",
        examples=["*/5 * * * *"],
    ),
]
_Zone = Annotated[
    TimeZone,
    Field(
        description="The IANA name of the time zone that the expression is meant in, if it does "
        "not name one itself; UTC when absent.",
        examples=["Europe/Berlin"],
    ),
]
_Skip = Annotated[
    bool,
    Field(
        description="Enqueue nothing while a task that this recurring task has enqueued is "
        "unfinished, in whatever queue; false when absent."
    ),
]
_Paused = Annotated[
    bool,
    Field(description="Enqueue nothing until this is false again; what passed is not made up for."),
]
_MisfirePolicy = Annotated[
    MisfirePolicy,
    Field(
        description="What becomes of instants that passed while no server led: nothing, one task "
        "for all of them, or one for each, up to 1,000; `fire_once` when absent."
    ),
]


class NewRecurringTask(RequestBody):
    """A recurring task to make."""

    id: Annotated[RecurringTaskId, Field(description="Unique, up to 330 bytes.")]
    schedule_expression: _Expression
    time_zone: _Zone | None = None
    skip_if_outstanding_tasks_exist: _Skip | None = None
    task_definition: _Definition
    paused: _Paused | None = None
    misfire_policy: _MisfirePolicy | None = None

    def to_domain(self, defaults: RequestDefaults) -> domain.NewRecurringTask:
        """The recurring task with everything filled in that was not said."""
        return domain.NewRecurringTask(
            id=self.id,
            schedule_expression=self.schedule_expression,
            time_zone=self.time_zone,
            skip_if_outstanding_tasks_exist=bool(self.skip_if_outstanding_tasks_exist),
            definition=self.task_definition.to_domain(defaults),
            paused=bool(self.paused),
            misfire_policy=domain.MisfirePolicy(self.misfire_policy or "fire_once"),
        )


class RecurringTaskUpdate(RequestBody):
    """What to change of a recurring task; what is absent stays. A definition is replaced whole."""

    schedule_expression: _Expression | None = None
    time_zone: _Zone | None = None
    skip_if_outstanding_tasks_exist: _Skip | None = None
    task_definition: _Definition | None = None
    paused: _Paused | None = None
    misfire_policy: _MisfirePolicy | None = None

    def to_domain(self, defaults: RequestDefaults) -> Change:
        """What the service takes."""
        definition, policy = self.task_definition, self.misfire_policy
        return Change(
            schedule_expression=self.schedule_expression,
            time_zone=self.time_zone,
            skip_if_outstanding_tasks_exist=self.skip_if_outstanding_tasks_exist,
            definition=None if definition is None else definition.to_domain(defaults),
            paused=self.paused,
            misfire_policy=None if policy is None else domain.MisfirePolicy(policy),
        )
