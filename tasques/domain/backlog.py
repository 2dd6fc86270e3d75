"""What a queue has before it, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tasques.domain.task import TaskState

SCHEDULED: Final = "scheduled"
"""What queued tasks are that are not due yet; the other states are those of tasks."""

STATES: Final = (SCHEDULED, *TaskState)


class Backlog(NamedTuple):
    """The tasks of a queue that are not archived.

    Attributes:
        tasks: how many are in each of `STATES`; those that are missing have none.
        due: how many could be claimed now: queued ones, and failed ones whose pause is over.
        oldest_due_for: for how many seconds the oldest of those has been due; 0 if there is none.
    """

    tasks: Mapping[str, int] = {}
    due: int = 0
    oldest_due_for: float = 0.0

    @property
    def to_work_on(self) -> int:
        """How many tasks need a worker now, or have one."""
        return self.due + self.tasks.get(TaskState.CLAIMED, 0)
