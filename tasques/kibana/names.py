"""What is called what, in Kibana and in Elasticsearch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_USUAL: Final = "tasques"

WORKER: Final = "last_claimed.worker_id"
FINISHED: Final = "last_claimed.result.at"

STATES: Final = {
    "Scheduled": "state : queued and run_at > now",
    "Queued": "state : queued and run_at <= now",
    "Processing": "state : claimed",
    "Will retry": "state : failed",
    "Done": "state : done",
    "Dead": "state : dead",
}
"""The states as people see them, with the KQL that finds their tasks."""


@dataclass(frozen=True, slots=True)
class Names:
    """Ids and titles; those of installations with different prefixes differ."""

    prefix: str = _USUAL

    def id(self, name: str) -> str:
        """The id of an object."""
        return f"{self.prefix}-{name}"

    def title(self, name: str) -> str:
        """What people read, such as `Tasques: tasks`."""
        return f"{self._owner}: {name}"

    def title_of_dashboard(self, name: str) -> str:
        """What people read, such as `Tasques overview`."""
        return f"{self._owner} {name}"

    @property
    def _owner(self) -> str:
        return "Tasques" if self.prefix == _USUAL else f"Tasques ({self.prefix})"

    @property
    def tasks(self) -> str:
        """The alias of the tasks, and the id of its data view."""
        return self.id("tasks")

    @property
    def archive(self) -> str:
        """The alias of the archive, and the id of its data view."""
        return self.id("archive")

    @property
    def recurring(self) -> str:
        """The alias of the recurring tasks, and the id of its data view."""
        return self.id("recurring")

    @property
    def everything(self) -> str:
        """The id of the data view of tasks and archive."""
        return self.id("all")
