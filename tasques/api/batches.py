"""The batch routes: many tasks in one request, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope

from tasques.api import operations
from tasques.api.answers import Answer
from tasques.api.auth import BasicAuth
from tasques.api.bodies import parse_object, read_body
from tasques.api.errors import error_answer
from tasques.api.headers import read_worker_id
from tasques.api.lean_route import LeanRoute
from tasques.api.representation import task_json
from tasques.api.requests import NewTask, RequestDefaults, TaskResult, read_items
from tasques.domain.errors import InvalidRequestError, TasquesError
from tasques.domain.ports import Clock
from tasques.domain.task import Task
from tasques.services.tasks import TaskService

_LEVELS_ABOVE: Final = 2  # the list, and the item in it

Given = TypeVar("Given")


class BatchHandlers:
    """What the batch routes do."""

    def __init__(self, tasks: TaskService, defaults: RequestDefaults, clock: Clock) -> None:
        self._tasks = tasks
        self._defaults = defaults
        self._clock = clock

    async def create(self, scope: Scope, receive: Receive) -> Answer:
        """Enqueue tasks."""
        items = read_items(await self._members(scope, receive), "tasks", NewTask)
        now = self._clock.now()
        new = [
            item
            if isinstance(item, InvalidRequestError)
            else item.to_domain(self._defaults, new_id=self._tasks.new_task_id, now=now)
            for item in items
        ]
        return _answer(await _each(new, self._tasks.create_all), status=201)

    async def finish(self, scope: Scope, receive: Receive) -> Answer:
        """Note how attempts ended."""
        members = await self._members(scope, receive)
        worker_id = read_worker_id(scope["headers"])
        finishes = [
            item if isinstance(item, InvalidRequestError) else item.to_domain()
            for item in read_items(members, "results", TaskResult)
        ]
        outcomes = await _each(
            finishes, lambda good: self._tasks.finish_all(good, worker_id=worker_id)
        )
        return _answer(outcomes, status=200)

    async def _members(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        body = await read_body(scope, receive, self._defaults.max_body_size)
        return parse_object(body, levels_above=_LEVELS_ABOVE)


async def _each(
    items: Sequence[Given | InvalidRequestError],
    do: Callable[[list[Given]], Awaitable[list[Task | TasquesError]]],
) -> list[Task | TasquesError]:
    """What becomes of the good items, and the faults of the others, in the order of the items."""
    good = [item for item in items if not isinstance(item, InvalidRequestError)]
    outcomes = iter(await do(good))
    return [item if isinstance(item, InvalidRequestError) else next(outcomes) for item in items]


def _answer(outcomes: Sequence[Task | TasquesError], status: int) -> Answer:
    texts = [
        b'{"status":%d,"task":%b}' % (status, task_json(outcome))
        if isinstance(outcome, Task)
        else _error_text(outcome)
        for outcome in outcomes
    ]
    return Answer(200, b'{"items":[' + b",".join(texts) + b"]}\n")


def _error_text(error: TasquesError) -> bytes:
    answer = error_answer(error)
    return b'{"status":%d,"error":%b}' % (answer.status, answer.body.strip())


def batch_routes(handlers: BatchHandlers, auth: BasicAuth) -> list[LeanRoute]:
    """The routes."""
    return [
        LeanRoute(operations.CREATE_TASKS, handlers.create, auth),
        LeanRoute(operations.FINISH_TASKS, handlers.finish, auth),
    ]
