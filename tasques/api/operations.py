"""The operations on tasks as the API document shows them.

Their signatures and docstrings are what FastAPI documents; what runs is in `tasks`. Identifiers
(the names of the functions) and tags are those of the original's document, because clients are
generated from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Header, Path

from tasques.api import examples, schemas
from tasques.api.headers import WORKER_ID
from tasques.api.requests import (
    Claim,
    Failure,
    NewReport,
    NewTask,
    NewTaskBatch,
    Success,
    TaskResultBatch,
)

Queue = Annotated[str, Path(description="The queue that the task is in.", examples=["mail"])]
TaskId = Annotated[
    str,
    Path(
        alias="id",
        description="The id of the task. Any character, percent-encoded: a slash as `%2F`.",
        examples=["9f2c5a0e4be84d6d8f0c63d2b4a1e7c3"],
    ),
]
WorkerId = Annotated[
    str,
    Header(
        alias=WORKER_ID,
        description="Who you are: any text of up to 512 bytes, the same for a claim and for all "
        "that is said about the claimed tasks later.",
        examples=["mailer-7"],
    ),
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the API document; its `partial` decorates the function that describes it.

    Attributes:
        endpoint: a function of which only the signature and the docstring matter.
        outcome: what the answer of success is.
        answer: an example of it.
        request: an example of a body, if there is one.
        errors: the statuses of its errors, besides those that every operation has.
        error_examples: for some of them, what is said instead of the usual.
    """

    endpoint: Callable[..., Any]
    _: KW_ONLY
    method: str
    path: str
    summary: str
    outcome: str
    answer: Any
    errors: tuple[int, ...]
    request: examples.Example | None = None
    model: Any = schemas.Task
    status: int = 200
    tag: str = "tasks"
    error_examples: Mapping[int, tuple[str, examples.Example]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What generated clients call it: the name of the function, with hyphens."""
        return self.endpoint.__name__.replace("_", "-")


_TASK_PATH: Final = "{queue:segment}/{id:segment}"
_CLAIM_ERRORS: Final = (400, 403, 404, 409)


@partial(
    Operation,
    method="POST",
    path="/tasques",
    summary="Add a new task",
    outcome="The task as it was stored.",
    request=examples.NEW_TASK,
    answer=examples.QUEUED_TASK,
    errors=(400, 409, 413),
    status=201,
)
async def create_task(body: NewTask) -> None:
    """Put a task into a queue.

    The answer has everything that the server filled in. With an `id` of your own a request can
    safely be repeated when its answer was lost: 409 then says that the task is there.
    """


@partial(
    Operation,
    method="GET",
    path=f"/tasques/{_TASK_PATH}",
    summary="Get a task",
    outcome="The task.",
    answer=examples.QUEUED_TASK,
    errors=(400, 404),
)
async def get_existing_task(queue: Queue, task_id: TaskId) -> None:
    """Look at a task as it is now."""


@partial(
    Operation,
    method="POST",
    path="/tasques/claims",
    summary="Claim tasks",
    outcome="The claimed tasks; an empty list if there were none in time.",
    request=examples.CLAIM,
    answer=[examples.CLAIMED_TASK],
    errors=(400, 413),
    model=list[schemas.Task],
)
async def claim_tasks(worker_id: WorkerId, body: Claim) -> None:
    """Get tasks to work on.

    Answers as soon as there is at least one, else when `block_for` is over, with an empty list.
    A claimed task is yours until it times out; report in to keep it for longer. Close the
    connection to withdraw: nothing is then claimed for you.
    """


@partial(
    Operation,
    method="DELETE",
    path=f"/tasques/claims/{_TASK_PATH}",
    summary="Unclaim a task",
    outcome="The task, which is queued again.",
    answer=examples.UNCLAIMED_TASK,
    errors=_CLAIM_ERRORS,
)
async def unclaim_existing_task(queue: Queue, task_id: TaskId, worker_id: WorkerId) -> None:
    """Give a claimed task back: others may have it at once, and the attempt does not count."""


@partial(
    Operation,
    method="PUT",
    path=f"/tasques/reports/{_TASK_PATH}",
    summary="Report in on a task",
    outcome="The task with the report and its new time-out.",
    request=examples.REPORT,
    answer=examples.REPORTED_TASK,
    errors=(*_CLAIM_ERRORS, 413),
)
async def report_on_claimed_task(
    queue: Queue, task_id: TaskId, worker_id: WorkerId, body: NewReport
) -> None:
    """Report in on a claimed task, so that its time-out starts anew."""


@partial(
    Operation,
    method="PUT",
    path=f"/tasques/done/{_TASK_PATH}",
    summary="Mark a task as done",
    outcome="The task, which is done.",
    request=examples.SUCCESS,
    answer=examples.DONE_TASK,
    errors=(*_CLAIM_ERRORS, 413),
)
async def mark_claimed_task_done(
    queue: Queue, task_id: TaskId, worker_id: WorkerId, body: Success
) -> None:
    """Say that a claimed task is done, for good."""


@partial(
    Operation,
    method="PUT",
    path=f"/tasques/failed/{_TASK_PATH}",
    summary="Mark a task as failed",
    outcome="The task, which is failed or dead.",
    request=examples.FAILURE,
    answer=examples.FAILED_TASK,
    errors=(*_CLAIM_ERRORS, 413),
)
async def mark_claimed_task_failed(
    queue: Queue, task_id: TaskId, worker_id: WorkerId, body: Failure
) -> None:
    """Say that a claimed task failed.

    It is tried again after a while that grows with every failure, or is dead when no attempt is
    left.
    """


@partial(
    Operation,
    method="POST",
    path="/tasques/batch",
    summary="Add many new tasks",
    outcome="What became of the items, in their order.",
    request=examples.NEW_TASK_BATCH,
    answer=examples.CREATED_BATCH,
    errors=(400, 413),
    model=schemas.Batch,
)
async def create_tasks(body: NewTaskBatch) -> None:
    """Put up to 1,000 tasks into queues in one request, which is many times faster.

    Each item is judged for itself, and its `status` is what a request for it alone would be
    answered with; one that is refused does not spoil the others. The answer as a whole is 200.
    """


@partial(
    Operation,
    method="POST",
    path="/tasques/results/batch",
    summary="Mark many tasks as done or failed",
    outcome="What became of the items, in their order.",
    request=examples.TASK_RESULT_BATCH,
    answer=examples.FINISHED_BATCH,
    errors=(400, 413),
    model=schemas.Batch,
)
async def finish_tasks(worker_id: WorkerId, body: TaskResultBatch) -> None:
    """Say of up to 1,000 claimed tasks that they are done or failed, in one request.

    Each item is judged for itself, as in `create-tasks`.
    """
