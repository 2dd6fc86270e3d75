"""The batch routes: many tasks in one request, each with an outcome of its own."""

from __future__ import annotations

import asyncio
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
from tasques.api.requests import NewTask, RequestDefaults, TaskResult, items_of, read_item
from tasques.api.trace_context import traceparent_of
from tasques.domain import task as domain
from tasques.domain.errors import InvalidRequestError, TasquesError
from tasques.domain.ports import Clock
from tasques.domain.task import Task
from tasques.services.tasks import Finish, TaskService

_LEVELS_ABOVE: Final = 2  # the list, and the item in it
# Items that are worked on in one turn of the event loop: a few milliseconds' worth.
_PORTION: Final = 100

Given = TypeVar("Given")


class BatchHandlers:
    """What the batch routes do."""

    def __init__(self, tasks: TaskService, defaults: RequestDefaults, clock: Clock) -> None:
        self._tasks = tasks
        self._defaults = defaults
        self._clock = clock

    async def create(self, scope: Scope, receive: Receive) -> Answer:
        """Enqueue tasks."""
        items = items_of(await self._members(scope, receive), "tasks")
        now = self._clock.now()
        traceparent = traceparent_of(scope)

        def read(item: Any) -> domain.NewTask:
            return read_item(item, NewTask).to_domain(
                self._defaults,
                new_id=self._tasks.new_task_id,
                now=now,
                traceparent=traceparent,
            )

        return await _answer_each(items, read, self._tasks.create_all, status=201)

    async def finish(self, scope: Scope, receive: Receive) -> Answer:
        """Note how attempts ended."""
        members = await self._members(scope, receive)
        worker_id = read_worker_id(scope["headers"])

        def read(item: Any) -> Finish:
            return read_item(item, TaskResult).to_domain()

        async def finish(good: list[Finish]) -> list[Task | TasquesError]:
            return await self._tasks.finish_all(good, worker_id=worker_id)

        return await _answer_each(items_of(members, "results"), read, finish, status=200)

    async def _members(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        body = await read_body(scope, receive, self._defaults.max_body_size)
        return parse_object(body, levels_above=_LEVELS_ABOVE)


async def _answer_each(
    items: Sequence[Any],
    read: Callable[[Any], Given],
    do: Callable[[list[Given]], Awaitable[list[Task | TasquesError]]],
    *,
    status: int,
) -> Answer:
    """Do what each item says, and answer in the order of the items.

    Others must not wait until a thousand items are read, or written down, so there is a turn of
    the event loop between two portions. All their writes still go together.
    """
    async with asyncio.TaskGroup() as group:
        portions = []
        for start in range(0, len(items), _PORTION):
            portion = _each(items[start : start + _PORTION], read, do)
            portions.append(group.create_task(portion))
            await asyncio.sleep(0)  # noqa: TID251 - gives way, does not wait
    texts = []
    tasks: list[Task] = []
    for portion_done in portions:
        texts += [_text(outcome, status) for outcome in portion_done.result()]
        tasks += [outcome for outcome in portion_done.result() if isinstance(outcome, Task)]
        await asyncio.sleep(0)  # noqa: TID251 - gives way, does not wait
    return Answer(200, b'{"items":[' + b",".join(texts) + b"]}\n", tasks=tasks)


async def _each(
    items: Sequence[Any],
    read: Callable[[Any], Given],
    do: Callable[[list[Given]], Awaitable[list[Task | TasquesError]]],
) -> list[Task | TasquesError]:
    """What becomes of the good items, and the faults of the others, in the order of the items."""
    faults: dict[int, InvalidRequestError] = {}
    good: list[Given] = []
    for number, item in enumerate(items):
        try:
            good.append(read(item))
        except InvalidRequestError as error:
            faults[number] = error
    outcomes = iter(await do(good) if good else ())
    return [faults[number] if number in faults else next(outcomes) for number in range(len(items))]


def _text(outcome: Task | TasquesError, status: int) -> bytes:
    if isinstance(outcome, Task):
        return b'{"status":%d,"task":%b}' % (status, task_json(outcome))
    return _error_text(outcome)


def _error_text(error: TasquesError) -> bytes:
    answer = error_answer(error)
    return b'{"status":%d,"error":%b}' % (answer.status, answer.body.strip())


def batch_routes(handlers: BatchHandlers, auth: BasicAuth) -> list[LeanRoute]:
    """The routes."""
    return [
        LeanRoute(operations.create_tasks, handlers.create, auth),
        LeanRoute(operations.finish_tasks, handlers.finish, auth),
    ]
