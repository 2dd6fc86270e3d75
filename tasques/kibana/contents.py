"""What there is to see. `python -m tasques.kibana.contents` writes it as a file for Kibana.

An argument stands for the prefix of the indices, if it is not `tasques`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tasques.kibana.dashboards import archive, overview
from tasques.kibana.names import FINISHED, STATES, WORKER, Names
from tasques.kibana.saved_objects import Object, data_view, ndjson, search


def saved_objects(prefix: str = "tasques") -> list[Object]:
    """Everything, for the indices whose names begin so."""
    names = Names(prefix)
    return [*_views(names), *_searches(names), overview(names), archive(names)]


def _views(names: Names) -> list[Object]:
    both = f"{names.tasks},{names.archive}"
    return [
        data_view(view, name=names.title(name), indices=indices, time=time)
        for view, name, indices, time in (
            # Without a time field, so that old work is never hidden by the range of the dashboard.
            (names.tasks, "tasks", names.tasks, None),
            (names.archive, "archive", names.archive, FINISHED),
            (names.everything, "tasks and archive", both, "metadata.modified_at"),
            (names.recurring, "recurring tasks", names.recurring, None),
        )
    ]


def _searches(names: Names) -> list[Object]:
    created = "metadata.created_at"
    of_tasks = ("queue", "kind", "id", "state", "attempted", "run_at", WORKER, "failure_message")
    of_recurring = (
        "id",
        "schedule_expression",
        "time_zone",
        "paused",
        "task_definition.queue",
        "last_fired_at",
    )
    found: list[tuple[str, str, str, Sequence[str], str]] = [
        (state.lower(), names.tasks, query, of_tasks, created) for state, query in STATES.items()
    ]
    found += [
        ("archived", names.archive, "", of_tasks, FINISHED),
        ("recurring", names.recurring, "not is_deleted : true", of_recurring, created),
    ]
    return [
        search(
            names.id(name.replace(" ", "-")),
            title=names.title(name),
            view=view,
            query=query,
            columns=columns,
            newest=newest,
        )
        for name, view, query, columns, newest in found
    ]


if __name__ == "__main__":
    sys.stdout.buffer.write(ndjson(saved_objects(*sys.argv[1:2])))
