"""What this process last saw of tasks that are in workers' hands."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from tasques.domain.task import Task

_OVERHEAD: Final = 1024  # a rough size of everything but the free-form parts


class LastSeen:
    """A memory of tasks with their versions, bounded in number and bytes.

    With it the usual completion is one conditional write and no read. It may be out of date, so
    it can only say yes: nothing is refused because of what it holds.
    """

    def __init__(self, *, max_tasks: int, max_bytes: int) -> None:
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tasks: OrderedDict[tuple[str, str], Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def remember(self, task: Task) -> None:
        """Keep a task as it was just read or written."""
        self.forget(task.queue, task.id)
        self._tasks[task.queue, task.id] = task
        self._bytes += _size(task)
        while len(self._tasks) > self._max_tasks or self._bytes > self._max_bytes:
            _, oldest = self._tasks.popitem(last=False)
            self._bytes -= _size(oldest)

    def find(self, queue: str, task_id: str) -> Task | None:
        """The task as last seen, or None."""
        return self._tasks.get((queue, task_id))

    def forget(self, queue: str, task_id: str) -> None:
        """Drop what is known of a task."""
        if (task := self._tasks.pop((queue, task_id), None)) is not None:
            self._bytes -= _size(task)


def _size(task: Task) -> int:
    report = task.last_claimed and task.last_claimed.last_report
    data = (report and report.data) or ""
    return _OVERHEAD + task.size + len(data)
