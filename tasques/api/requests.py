"""What clients send: the members, their ranges, and how they become what the services take.

Types are strict, members that nobody knows are ignored, and an explicit null is the same as an
absent member. Everything that is wrong with a body is said at once, a line for each fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from tasques.api.members import (
    REFUSED,
    Duration,
    FreeForm,
    Instant,
    Int32,
    Int64,
    Kind,
    Outcome,
    QueueName,
    QueueNames,
    TaskId,
    Timeout,
)
from tasques.domain import task as domain
from tasques.domain.errors import InvalidRequestError
from tasques.services.tasks import Finish

Item = TypeVar("Item", bound="RequestBody")

MAX_CLAIM_AMOUNT: Final = 1000
MAX_BATCH: Final = 1000
_MOST_PROBLEMS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefaults:
    """What a request gets that does not say otherwise, and where its wishes end.

    Attributes:
        max_block_for: how long a claim waits at most, whatever it asks for.
        max_body_size: in bytes.
    """

    retry_times: int = 25
    processing_timeout: timedelta = timedelta(minutes=30)
    claim_amount: int = 1
    block_for: timedelta = timedelta(seconds=3)
    max_block_for: timedelta = timedelta(seconds=25)
    max_body_size: int = 5 * 1024 * 1024


class RequestBody(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(strict=True, extra="ignore")

    @classmethod
    def read(cls, members: dict[str, Any]) -> Self:
        """Take the members of a parsed body.

        Raises:
            InvalidRequestError: with a line for each fault.
        """
        present = {name: value for name, value in members.items() if value is not None}
        try:
            return cls.model_validate(present)
        except ValidationError as error:
            raise InvalidRequestError(*_problems(error)) from error


class NewTask(RequestBody):
    """A task to enqueue."""

    id: Annotated[
        TaskId | None,
        Field(
            description="Unique in the queue, up to 360 bytes; made by the server when absent. "
            "Sending one makes a repeated request safe: the repetition is answered with 409."
        ),
    ] = None
    queue: Annotated[
        QueueName,
        Field(
            description="In lower case, up to 128 bytes, without blanks, `%` and any of "
            '`\\ / * ? " < > | , # :`, and not beginning with `_`, `-` or `+`.'
        ),
    ]
    retry_times: Annotated[
        Annotated[Int32, Field(ge=0, le=2**31 - 1)] | None,
        Field(description="How often it is tried again after a failure; a setting when absent."),
    ] = None
    kind: Annotated[
        Kind,
        Field(description="What is to be done; workers choose by it. Up to 512 bytes."),
    ]
    priority: Annotated[
        Annotated[Int64, Field(ge=-(2**63), le=2**63 - 1)] | None,
        Field(description="Tasks of a higher priority are claimed first; 0 when absent."),
    ] = None
    processing_timeout: Annotated[
        Timeout | None,
        Field(
            description="How long a worker may be silent before the task fails for it: Go's text "
            "form of durations. A setting when absent."
        ),
    ] = None
    run_at: Annotated[
        Instant | None, Field(description="Not to be claimed before; at once when absent.")
    ] = None
    args: Annotated[
        FreeForm | None,
        Field(description="What the worker needs to know. Kept exactly, big integers too."),
    ] = None
    context: Annotated[
        FreeForm | None, Field(description="More of it, for example who asked, or a trace id.")
    ] = None

    def to_domain(
        self,
        defaults: RequestDefaults,
        *,
        new_id: Callable[[], str],
        now: datetime,
        traceparent: str | None = None,
    ) -> domain.NewTask:
        """The task with everything filled in that was not said."""
        return domain.NewTask(
            id=new_id() if self.id is None else self.id,
            queue=self.queue,
            kind=self.kind,
            priority=self.priority or 0,
            retry_times=defaults.retry_times if self.retry_times is None else self.retry_times,
            processing_timeout=self.processing_timeout or defaults.processing_timeout,
            run_at=self.run_at or now,
            args=self.args,
            context=self.context,
            traceparent=traceparent,
        )


class Claim(RequestBody):
    """A wish for tasks."""

    queues: Annotated[
        QueueNames,
        Field(description="From which queues, up to 1,024; an empty list means all of them."),
    ]
    amount: Annotated[
        Annotated[Int32, Field(ge=0)] | None,
        Field(
            description="How many at most; more than 1,000 are never given. A setting if absent."
        ),
    ] = None
    block_for: Annotated[
        Duration | None,
        Field(
            description="How long to wait while there is none; cut to a setting of the server. "
            "Zero looks once. Another setting when absent."
        ),
    ] = None

    def how_many(self, defaults: RequestDefaults) -> int:
        """The amount, within its limit."""
        amount = defaults.claim_amount if self.amount is None else self.amount
        return min(amount, MAX_CLAIM_AMOUNT)

    def how_long(self, defaults: RequestDefaults) -> timedelta:
        """The time to wait, within its limits."""
        block_for = defaults.block_for if self.block_for is None else self.block_for
        return max(timedelta(0), min(block_for, defaults.max_block_for))


class NewReport(RequestBody):
    """A sign of life."""

    data: Annotated[
        FreeForm | None, Field(description="How far it is; replaces that of the last report.")
    ] = None


class Success(RequestBody):
    """How a task ended well."""

    data: Annotated[FreeForm | None, Field(description="What came out.")] = None


class Failure(RequestBody):
    """How an attempt failed."""

    data: Annotated[FreeForm | None, Field(description="What went wrong.")] = None


class NewTaskBatch(RequestBody):
    """Tasks to enqueue, each for itself."""

    tasks: Annotated[
        list[NewTask], Field(max_length=MAX_BATCH, description="Up to 1,000, in any queues.")
    ]


class TaskResult(RequestBody):
    """How an attempt at a claimed task ended."""

    queue: QueueName
    id: TaskId
    outcome: Annotated[
        Outcome,
        Field(description="`failed` is tried again later, unless no attempt is left."),
    ]
    data: Annotated[FreeForm | None, Field(description="What came out, or what went wrong.")] = None

    def to_domain(self) -> Finish:
        """What the service takes."""
        return Finish(
            queue=self.queue, task_id=self.id, is_success=self.outcome == "done", data=self.data
        )


class TaskResultBatch(RequestBody):
    """Results of tasks that one worker holds, each for itself."""

    results: Annotated[
        list[TaskResult], Field(max_length=MAX_BATCH, description="Up to 1,000, of any queues.")
    ]


def items_of(members: dict[str, Any], name: str) -> list[Any]:
    """The items of a batch, unread.

    Raises:
        InvalidRequestError: there is no list of that name, or it is too long.
    """
    items = members.get(name)
    if items is None:
        raise InvalidRequestError(f"{name}: is required")
    if not isinstance(items, list):
        raise InvalidRequestError(f"{name}: must be a list")
    if len(items) > MAX_BATCH:
        raise InvalidRequestError(f"{name}: must not have more than {MAX_BATCH} items")
    return items


def read_item(item: Any, kind: type[Item]) -> Item:
    """Take one item of a batch.

    Raises:
        InvalidRequestError: with a line for each fault.
    """
    if not isinstance(item, dict):
        raise InvalidRequestError("The item must be a JSON object.")
    return kind.read(item)


def _problems(error: ValidationError) -> list[str]:
    problems = [
        problem
        for fault in error.errors(include_url=False, include_input=False)
        for problem in _problems_of(fault)
    ]
    if (more := len(problems) - _MOST_PROBLEMS_SHOWN) > 0:
        return [*problems[:_MOST_PROBLEMS_SHOWN], f"... and {more} more"]
    return problems


def _problems_of(fault: ErrorDetails) -> Iterator[str]:
    if fault["type"] == REFUSED:
        yield from fault["ctx"]["problems"]
        return
    first, *rest = fault["loc"]
    place = f"{first}{''.join(f'[{part}]' for part in rest)}"
    if fault["type"] == "missing":
        yield f"{place}: is required"
    else:
        yield f"{place}: {fault['msg'].replace('Input should be', 'must be')}"
