"""What can be asked about recurring tasks, as calls that both clients carry out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tasques.client.calls import is_what_was_sent, json_body, place, read
from tasques.client.errors import AlreadyExistsError, NotFoundError
from tasques.client.exchange import Call, Doubt, Exchange, Request
from tasques.client.models import NewRecurringTask, RecurringTask, RecurringTaskChange, Task
from tasques.client.wire import (
    members_of,
    read_instants,
    read_recurring_task,
    read_recurring_tasks,
    read_task,
)

_ROOT: Final = "/recurring_tasques"


class RecurringTaskCalls:
    """The calls about recurring tasks."""

    def __init__(self, exchange: Exchange, new_id: Callable[[], str]) -> None:
        self._exchange = exchange
        self._new_id = new_id

    def create(self, new: NewRecurringTask) -> Call[RecurringTask]:
        """Make a recurring task, once, however often the request has to be repeated."""
        request = Request("POST", _ROOT, json_body(members_of(new)))
        doubt = Doubt()
        try:
            return read(read_recurring_task, (yield from self._exchange.ask(request, doubt)))
        except AlreadyExistsError:
            if not doubt.exists:
                raise
            stored = yield from self.get(new.id)
            if not is_what_was_sent(stored, new):
                raise
            return stored

    def get(self, recurring_task_id: str) -> Call[RecurringTask]:
        """Read a recurring task."""
        request = Request("GET", _path(recurring_task_id))
        return read(read_recurring_task, (yield from self._exchange.ask(request)))

    def list_all(self) -> Call[list[RecurringTask]]:
        """Read all recurring tasks."""
        request = Request("GET", _ROOT)
        return read(read_recurring_tasks, (yield from self._exchange.ask(request)))

    def update(self, recurring_task_id: str, change: RecurringTaskChange) -> Call[RecurringTask]:
        """Change a recurring task; doing so twice changes nothing more."""
        request = Request("PUT", _path(recurring_task_id), json_body(members_of(change)))
        return read(read_recurring_task, (yield from self._exchange.ask(request)))

    def delete(self, recurring_task_id: str) -> Call[None]:
        """Delete a recurring task. That an earlier try of ours has done so is a success."""
        doubt = Doubt()
        try:
            yield from self._exchange.ask(Request("DELETE", _path(recurring_task_id)), doubt)
        except NotFoundError:
            if not doubt.exists:
                raise

    def upcoming(self, recurring_task_id: str, count: int) -> Call[list[datetime]]:
        """Read the next instants."""
        request = Request("GET", f"{_path(recurring_task_id)}/upcoming?count={count}")
        return read(read_instants, (yield from self._exchange.ask(request)))

    def run(self, recurring_task_id: str) -> Call[Task]:
        """Enqueue a task now, once, however often the request has to be repeated."""
        headers = {"Idempotency-Key": self._new_id()}
        request = Request("POST", f"{_path(recurring_task_id)}/run", headers=headers)
        return read(read_task, (yield from self._exchange.ask(request)))


def _path(recurring_task_id: str) -> str:
    return f"{_ROOT}/{place(recurring_task_id)}"
