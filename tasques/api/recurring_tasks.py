"""The routes of recurring tasks: from HTTP to a use case and back."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from tasques.api import recurring_operations as operations
from tasques.api.answers import Answer
from tasques.api.auth import BasicAuth
from tasques.api.bodies import parse_object, read_body
from tasques.api.headers import find_header
from tasques.api.lean_route import LeanRoute
from tasques.api.recurring_operations import DEFAULT_COUNT, IDEMPOTENCY_KEY, MAX_COUNT
from tasques.api.recurring_representation import instants_json, recurring_task_json
from tasques.api.recurring_requests import NewRecurringTask, RecurringTaskUpdate
from tasques.api.representation import task_json
from tasques.api.requests import RequestDefaults
from tasques.api.trace_context import traceparent_of
from tasques.domain.errors import InvalidRequestError
from tasques.domain.names import check_recurring_task_id
from tasques.domain.ports import Clock
from tasques.domain.recurring import StoredRecurringTask
from tasques.services.recurring_tasks import RecurringTaskService

_LEVELS_ABOVE: Final = 1  # the definition, around what is free in form
_AT_A_TIME: Final = 100
_MAX_KEY_BYTES: Final = 512
_MAX_DIGITS: Final = len(str(MAX_COUNT))


class RecurringTaskHandlers:
    """What the routes of recurring tasks do."""

    def __init__(
        self, recurring_tasks: RecurringTaskService, defaults: RequestDefaults, clock: Clock
    ) -> None:
        self._recurring_tasks = recurring_tasks
        self._defaults = defaults
        self._clock = clock

    async def create(self, scope: Scope, receive: Receive) -> Answer:
        """Make a recurring task."""
        body = NewRecurringTask.read(await self._members(scope, receive))
        new = body.to_domain(self._defaults)
        return self._answer(await self._recurring_tasks.create(new), status=201)

    async def list_all(self, _: Scope, __: Receive) -> Answer:
        """Read all recurring tasks."""
        now = self._clock.now()
        texts = []
        for number, stored in enumerate(await self._recurring_tasks.list_all()):
            if number % _AT_A_TIME == 0:
                await self._clock.sleep(0)  # thousands of schedules must not hold up other requests
            texts.append(recurring_task_json(stored, now))
        return Answer(200, b"[" + b",".join(texts) + b"]\n")

    async def get(self, scope: Scope, _: Receive) -> Answer:
        """Read a recurring task."""
        return self._answer(await self._recurring_tasks.get(_id_in_path(scope)))

    async def update(self, scope: Scope, receive: Receive) -> Answer:
        """Change a recurring task."""
        recurring_task_id = _id_in_path(scope)
        body = RecurringTaskUpdate.read(await self._members(scope, receive))
        change = body.to_domain(self._defaults)
        return self._answer(await self._recurring_tasks.update(recurring_task_id, change))

    async def delete(self, scope: Scope, _: Receive) -> Answer:
        """Delete a recurring task."""
        return self._answer(await self._recurring_tasks.delete(_id_in_path(scope)))

    async def preview(self, scope: Scope, _: Receive) -> Answer:
        """Compute the next instants."""
        recurring_task_id, count = _id_in_path(scope), _read_count(scope["query_string"])
        instants = await self._recurring_tasks.upcoming(recurring_task_id, count)
        return Answer(200, instants_json(instants) + b"\n")

    async def run(self, scope: Scope, _: Receive) -> Answer:
        """Enqueue a task now."""
        recurring_task_id, key = _id_in_path(scope), _read_key(scope)
        traceparent = traceparent_of(scope)
        task = await self._recurring_tasks.run(recurring_task_id, key, traceparent=traceparent)
        return Answer(201, task_json(task) + b"\n", tasks=(task,))

    async def _members(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        body = await read_body(scope, receive, self._defaults.max_body_size)
        return parse_object(body, levels_above=_LEVELS_ABOVE)

    def _answer(self, stored: StoredRecurringTask, status: int = 200) -> Answer:
        return Answer(status, recurring_task_json(stored, self._clock.now()) + b"\n")


def recurring_task_routes(handlers: RecurringTaskHandlers, auth: BasicAuth) -> list[LeanRoute]:
    """The routes, in the order of the API document."""
    return [
        LeanRoute(operations.create_recurring_task, handlers.create, auth),
        LeanRoute(operations.list_existing_recurring_tasks, handlers.list_all, auth),
        LeanRoute(operations.get_existing_recurring_task, handlers.get, auth),
        LeanRoute(operations.update_existing_recurring_task, handlers.update, auth),
        LeanRoute(operations.delete_existing_recurring_task, handlers.delete, auth),
        LeanRoute(operations.preview_existing_recurring_task, handlers.preview, auth),
        LeanRoute(operations.run_existing_recurring_task, handlers.run, auth),
    ]


def _id_in_path(scope: Scope) -> str:
    return check_recurring_task_id(scope["path_params"]["id"])


def _read_count(query: bytes) -> int:
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("count")
    if values is None:
        return DEFAULT_COUNT
    text = values[-1]
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        count = int(text)
        if 1 <= count <= MAX_COUNT:
            return count
    raise InvalidRequestError(f"count: must be a number from 1 to {MAX_COUNT}")


def _read_key(scope: Scope) -> bytes | None:
    value = find_header(scope["headers"], IDEMPOTENCY_KEY.lower().encode())
    if value is None:
        return None
    key = value.strip()
    if not key:
        raise InvalidRequestError(f"{IDEMPOTENCY_KEY}: must not be empty")
    if len(key) > _MAX_KEY_BYTES:
        raise InvalidRequestError(
            f"{IDEMPOTENCY_KEY}: must not have more than {_MAX_KEY_BYTES} bytes, has {len(key)}"
        )
    return key
