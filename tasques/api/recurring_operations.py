"""The operations on recurring tasks as the API document shows them; see `operations`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import Header, Path, Query

from tasques.api import recurring_examples as examples
from tasques.api import schemas
from tasques.api.operations import Operation
from tasques.api.recurring_requests import NewRecurringTask, RecurringTaskUpdate

DEFAULT_COUNT: Final = 10
MAX_COUNT: Final = 1000
IDEMPOTENCY_KEY: Final = "Idempotency-Key"

RecurringTaskId = Annotated[
    str,
    Path(
        alias="id",
        description="The id of the recurring task. Any character, percent-encoded: a slash as "
        "`%2F`.",
        examples=["nightly-report"],
    ),
]
Count = Annotated[
    int, Query(ge=1, le=MAX_COUNT, description="How many instants, at most.", examples=[3])
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=IDEMPOTENCY_KEY,
        description="Any text of up to 512 bytes: a repetition with the same one is answered with "
        "the task that the first has enqueued, instead of enqueuing another.",
        examples=["3f6c"],
    ),
]


_PATH: Final = "/recurring_tasques/{id:segment}"
_operation = partial(Operation, tag="recurring-tasks", error_examples=examples.ERRORS)


@partial(
    _operation,
    method="POST",
    path="/recurring_tasques",
    summary="Add a new recurring task",
    outcome="The recurring task as it was stored.",
    request=examples.NEW_RECURRING_TASK,
    answer={
        name: value
        for name, value in examples.RECURRING_TASK.items()
        if not name.startswith("last_")
    },
    errors=(400, 409, 413),
    model=schemas.RecurringTask,
    status=201,
)
async def create_recurring_task(body: NewRecurringTask) -> None:
    """Have a task enqueued at every instant of a schedule, from now on.

    Each instant enqueues one task, whatever happens to the servers. The id of a deleted recurring
    task can be used again.
    """


@partial(
    _operation,
    method="GET",
    path="/recurring_tasques",
    summary="List recurring tasks",
    outcome="All recurring tasks.",
    answer=[examples.RECURRING_TASK],
    errors=(),
    model=list[schemas.RecurringTask],
)
async def list_existing_recurring_tasks() -> None:
    """Look at all recurring tasks as they are now, in the order of their ids.

    One whose stored form is broken has a member `error`.
    """


@partial(
    _operation,
    method="GET",
    path=_PATH,
    summary="Get a recurring task",
    outcome="The recurring task.",
    answer=examples.RECURRING_TASK,
    errors=(400, 404),
    model=schemas.RecurringTask,
)
async def get_existing_recurring_task(recurring_task_id: RecurringTaskId) -> None:
    """Look at a recurring task as it is now."""


@partial(
    _operation,
    method="PUT",
    path=_PATH,
    summary="Update a recurring task",
    outcome="The recurring task as it is now.",
    request=examples.UPDATE,
    answer=examples.UPDATED,
    errors=(400, 404, 409, 413),
    model=schemas.RecurringTask,
)
async def update_existing_recurring_task(
    recurring_task_id: RecurringTaskId, body: RecurringTaskUpdate
) -> None:
    """Change a recurring task: what is absent stays, and a definition is replaced whole.

    A change holds for every instant after the answer. A new schedule or time zone, and the end of
    a pause, enqueue nothing for the past.
    """


@partial(
    _operation,
    method="DELETE",
    path=_PATH,
    summary="Delete a recurring task",
    outcome="The recurring task, which is deleted.",
    answer=examples.DELETED,
    errors=(400, 404, 409),
    model=schemas.RecurringTask,
)
async def delete_existing_recurring_task(recurring_task_id: RecurringTaskId) -> None:
    """Delete a recurring task: nothing is enqueued for instants after the answer.

    The tasks that it has enqueued stay.
    """


@partial(
    _operation,
    method="GET",
    path=f"{_PATH}/upcoming",
    summary="Preview the schedule of a recurring task",
    outcome="The next instants, RFC 3339.",
    answer=examples.UPCOMING,
    errors=(400, 404, 409),
    model=list[str],  # as text: generated Go does not compile with a bare list of instants
)
async def preview_existing_recurring_task(
    recurring_task_id: RecurringTaskId, count: Count = DEFAULT_COUNT
) -> None:
    """Look at the next instants of the schedule.

    The list is shorter, or empty, if there are no more, and empty while it is paused.
    """


@partial(
    _operation,
    method="POST",
    path=f"{_PATH}/run",
    summary="Run a recurring task now",
    outcome="The task, which this request, or an earlier one of the same key, has enqueued.",
    answer=examples.RUN,
    errors=(400, 404, 409),
    status=201,
)
async def run_existing_recurring_task(
    recurring_task_id: RecurringTaskId, idempotency_key: IdempotencyKey = None
) -> None:
    """Enqueue one task of the definition at once, also while it is paused or has others.

    The schedule is not changed by it. As long as the task is unfinished it is an outstanding one.
    """
