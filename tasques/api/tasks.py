"""The task routes: from HTTP to a use case and back.

The order of checks is part of the contract: it decides which of several faults is answered.
"""

from __future__ import annotations

from starlette.types import Receive, Scope

from tasques.api import operations
from tasques.api.answers import Answer
from tasques.api.auth import BasicAuth
from tasques.api.bodies import parse_object, read_body
from tasques.api.connection import ClientGoneError, ClientWatch
from tasques.api.headers import read_worker_id
from tasques.api.lean_route import LeanRoute
from tasques.api.representation import task_json, tasks_json
from tasques.api.requests import (
    Claim,
    Failure,
    NewReport,
    NewTask,
    RequestDefaults,
    Success,
)
from tasques.api.trace_context import traceparent_of
from tasques.domain.names import check_queue, check_task_id
from tasques.domain.ports import Clock
from tasques.domain.task import JsonText, Task
from tasques.services.claims import ClaimBroker
from tasques.services.giving_back import Claimed
from tasques.services.tasks import TaskService


class TaskHandlers:
    """What the task routes do."""

    def __init__(
        self, tasks: TaskService, claims: ClaimBroker, defaults: RequestDefaults, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._claims = claims
        self._defaults = defaults
        self._clock = clock

    async def create(self, scope: Scope, receive: Receive) -> Answer:
        """Enqueue a task."""
        body = await read_body(scope, receive, self._defaults.max_body_size)
        new = NewTask.read(parse_object(body)).to_domain(
            self._defaults,
            new_id=self._tasks.new_task_id,
            now=self._clock.now(),
            traceparent=traceparent_of(scope),
        )
        return _answer(await self._tasks.create(new), status=201)

    async def get(self, scope: Scope, _: Receive) -> Answer:
        """Read a task."""
        queue, task_id = _task_in_path(scope)
        return _answer(await self._tasks.get(queue, task_id))

    async def claim(self, scope: Scope, receive: Receive) -> Answer:
        """Hand out tasks, if there is still somebody to take them."""
        worker_id = read_worker_id(scope["headers"])
        body = await read_body(scope, receive, self._defaults.max_body_size)
        wish = Claim.read(parse_object(body))
        amount = wish.how_many(self._defaults)
        if amount == 0:
            return Answer(200, b"[]\n")
        claimed: list[Claimed] = []
        async with ClientWatch(receive) as client:
            claimed = await self._claims.claim(
                worker_id=worker_id,
                queues=tuple(wish.queues),
                amount=amount,
                block_for=wish.how_long(self._defaults),
            )
        if client.is_gone:
            self._claims.give_back(claimed)
            raise ClientGoneError
        tasks = [each.task for each in claimed]
        return Answer(
            200,
            tasks_json(tasks) + b"\n",
            on_undelivered=lambda: self._claims.give_back(claimed),
            tasks=tasks,
        )

    async def unclaim(self, scope: Scope, _: Receive) -> Answer:
        """Take a task back from its worker."""
        queue, task_id = _task_in_path(scope)
        worker_id = read_worker_id(scope["headers"])
        return _answer(await self._tasks.unclaim(queue, task_id, worker_id=worker_id))

    async def report(self, scope: Scope, receive: Receive) -> Answer:
        """Note a sign of life."""
        queue, task_id = _task_in_path(scope)
        data = await self._data(NewReport, scope, receive)
        worker_id = read_worker_id(scope["headers"])
        return _answer(await self._tasks.report(queue, task_id, worker_id=worker_id, data=data))

    async def complete(self, scope: Scope, receive: Receive) -> Answer:
        """Note that a task is done."""
        queue, task_id = _task_in_path(scope)
        success = await self._data(Success, scope, receive)
        worker_id = read_worker_id(scope["headers"])
        task = await self._tasks.complete(queue, task_id, worker_id=worker_id, success=success)
        return _answer(task)

    async def fail(self, scope: Scope, receive: Receive) -> Answer:
        """Note that an attempt failed."""
        queue, task_id = _task_in_path(scope)
        failure = await self._data(Failure, scope, receive)
        worker_id = read_worker_id(scope["headers"])
        task = await self._tasks.fail(queue, task_id, worker_id=worker_id, failure=failure)
        return _answer(task)

    async def _data(
        self, kind: type[NewReport | Success | Failure], scope: Scope, receive: Receive
    ) -> JsonText | None:
        body = await read_body(scope, receive, self._defaults.max_body_size)
        return kind.read(parse_object(body)).data


def task_routes(handlers: TaskHandlers, auth: BasicAuth) -> list[LeanRoute]:
    """The routes, in the order of a task's life, which is also that of the API document."""
    return [
        LeanRoute(operations.create_task, handlers.create, auth),
        LeanRoute(operations.get_existing_task, handlers.get, auth),
        LeanRoute(operations.claim_tasks, handlers.claim, auth),
        LeanRoute(operations.report_on_claimed_task, handlers.report, auth),
        LeanRoute(operations.mark_claimed_task_done, handlers.complete, auth),
        LeanRoute(operations.mark_claimed_task_failed, handlers.fail, auth),
        LeanRoute(operations.unclaim_existing_task, handlers.unclaim, auth),
    ]


def _task_in_path(scope: Scope) -> tuple[str, str]:
    path = scope["path_params"]
    return check_queue(path["queue"]), check_task_id(path["id"])


def _answer(task: Task, status: int = 200) -> Answer:
    return Answer(status, task_json(task) + b"\n", tasks=(task,))
