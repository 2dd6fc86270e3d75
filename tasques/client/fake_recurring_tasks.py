"""Recurring tasks in memory. Their schedules are kept, and never fire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tasques.client.durations import duration_text
from tasques.client.errors import api_error
from tasques.client.fake_tasks import PROCESSING_TIMEOUT, RETRY_TIMES, FakeTasks, Members
from tasques.client.transport import new_id

_DEFAULTS: Final[Members] = {
    "skip_if_outstanding_tasks_exist": False,
    "paused": False,
    "misfire_policy": "fire_once",
    "next_fire_at": None,
}
_DEFINITION_DEFAULTS: Final[Members] = {
    "retry_times": RETRY_TIMES,
    "priority": 0,
    "processing_timeout": duration_text(PROCESSING_TIMEOUT),
}
_REQUIRED: Final = ("id", "schedule_expression", "task_definition")


class FakeRecurringTasks:
    """Recurring tasks by their id."""

    def __init__(self, tasks: FakeTasks, now: Callable[[], datetime]) -> None:
        self._tasks = tasks
        self._now = now
        self._recurring_tasks: dict[str, Members] = {}
        self._runs: dict[tuple[str, str], Members] = {}

    def create(self, new: Members) -> Members:
        """Make a recurring task."""
        problems = [f"{name}: is required" for name in _REQUIRED if not new.get(name)]
        if problems:
            raise api_error(400, message="\n".join(problems), code="invalid_request")
        if new["id"] in self._recurring_tasks:
            text = f"There is a recurring task {new['id']!r} already."
            raise api_error(409, message=text, code="recurring_task_already_exists")
        now = self._now().isoformat()
        made = _DEFAULTS | {"metadata": {"created_at": now}} | _complete(new)
        return self._store(made)

    def get(self, recurring_task_id: str) -> Members:
        """Read a recurring task."""
        try:
            return self._recurring_tasks[recurring_task_id]
        except KeyError:
            text = f"There is no recurring task {recurring_task_id!r}."
            raise api_error(404, message=text, code="recurring_task_not_found") from None

    def list_all(self) -> list[Members]:
        """All, in the order of their ids."""
        return [task for _, task in sorted(self._recurring_tasks.items())]

    def update(self, recurring_task_id: str, change: Members) -> Members:
        """Change a recurring task."""
        return self._store(self.get(recurring_task_id) | _complete(change))

    def delete(self, recurring_task_id: str) -> Members:
        """Delete a recurring task."""
        task = self.get(recurring_task_id)
        del self._recurring_tasks[recurring_task_id]
        return task

    def run(self, recurring_task_id: str, key: str | None) -> Members:
        """Enqueue a task of it now; once for each key."""
        definition = self.get(recurring_task_id)["task_definition"]
        key = key or new_id()
        if (recurring_task_id, key) not in self._runs:
            mark = {
                "id": f"{recurring_task_id}@run-{new_id()}",
                "recurring_task_id": recurring_task_id,
            }
            self._runs[recurring_task_id, key] = self._tasks.create(definition | mark)
        made = self._runs[recurring_task_id, key]
        return self._tasks.get(made["queue"], made["id"])

    def _store(self, task: Members) -> Members:
        version = {"seq_num": 1, "primary_term": 1}
        modified = {"modified_at": self._now().isoformat(), "version": version}
        task["metadata"] = task["metadata"] | modified
        self._recurring_tasks[task["id"]] = task
        return task


def _complete(members: Members) -> Members:
    """What was said, with a definition that lacks nothing."""
    said = {name: value for name, value in members.items() if value is not None}
    if "task_definition" in said:
        said["task_definition"] = _DEFINITION_DEFAULTS | said["task_definition"]
    return said
