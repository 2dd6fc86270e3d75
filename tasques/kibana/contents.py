"""What there is to see. `python -m tasques.kibana.contents` writes it as a file for Kibana.

An argument stands for the prefix of the indices, if it is not `tasques`.
"""

from __future__ import annotations

import sys
from typing import Final

from tasques.kibana.columns import count, earliest, latest, over_time, percentile, terms
from tasques.kibana.panels import Layer, Panel, chart, table, tile
from tasques.kibana.saved_objects import Object, dashboard, data_view, ndjson, search

_TASKS: Final = "tasques-tasks"
_ARCHIVE: Final = "tasques-archive"
_ALL: Final = "tasques-all"
_RECURRING: Final = "tasques-recurring"

_WORKER: Final = "last_claimed.worker_id"
_FINISHED: Final = "last_claimed.result.at"
_REASON: Final = "last_claimed.result.reason"
_FAILED: Final = "state : (failed or dead)"
_CONTROLS: Final = (("queue", "Queue"), ("kind", "Kind"), (_WORKER, "Worker"))

_STATES: Final = {
    "Scheduled": "state : queued and run_at > now",
    "Queued": "state : queued and run_at <= now",
    "Processing": "state : claimed",
    "Will retry": "state : failed",
    "Done": "state : done",
    "Dead": "state : dead",
}


def saved_objects(prefix: str = "tasques") -> list[Object]:
    """Everything, for the indices whose names begin so."""
    return [*_views(prefix), *_searches(), _overview(), _archive()]


def _views(prefix: str) -> list[Object]:
    return [
        # Without a time field, so that old work is never hidden by the range of the dashboard.
        data_view(_TASKS, name="Tasques: tasks", indices=f"{prefix}-tasks", time=None),
        data_view(_ARCHIVE, name="Tasques: archive", indices=f"{prefix}-archive", time=_FINISHED),
        data_view(
            _ALL,
            name="Tasques: tasks and archive",
            indices=f"{prefix}-tasks,{prefix}-archive",
            time="metadata.modified_at",
        ),
        data_view(
            _RECURRING, name="Tasques: recurring tasks", indices=f"{prefix}-recurring", time=None
        ),
    ]


def _searches() -> list[Object]:
    created = "metadata.created_at"
    columns = ("queue", "kind", "id", "state", "attempted", "run_at", _WORKER, "failure_message")
    found = [
        search(
            f"tasques-{title.lower().replace(' ', '-')}",
            title=f"Tasques: {title.lower()}",
            view=_TASKS,
            query=query,
            columns=columns,
            newest=created,
        )
        for title, query in _STATES.items()
    ]
    archived = search(
        "tasques-archived",
        title="Tasques: archived",
        view=_ARCHIVE,
        query="",
        columns=columns,
        newest=_FINISHED,
    )
    return [*found, archived]


def _overview() -> Object:
    tiles = [
        tile(title, _TASKS, count(title), query=query, width=7 if title != "Total" else 6)
        for title, query in (_STATES | {"Total": ""}).items()
    ]
    waiting = terms("Queue", "queue", by="n")
    return dashboard(
        "tasques-overview",
        title="Tasques overview",
        description="What waits, what runs, what failed and why, and how long it takes",
        panels=[
            *tiles,
            chart(
                "Unfinished tasks by queue, over the time they were enqueued",
                Layer(
                    _TASKS,
                    {"q": waiting, "x": over_time("Enqueued", "last_enqueued_at"), "n": _tasks()},
                ),
                series="bar_stacked",
                query="state : (queued or claimed or failed)",
            ),
            _throughput(),
            *_percentiles(_ALL),
            table(
                "Oldest waiting",
                _TASKS,
                {"q": waiting, "n": count("Waiting"), "due": earliest("Due since", "due_at")},
                query="due_at <= now",
            ),
            _failures(_ALL),
            _completions(_ALL),
            _recurring_tasks(),
        ],
        controls=(_ALL, _CONTROLS),
    )


def _archive() -> Object:
    return dashboard(
        "tasques-archive",
        title="Tasques archive",
        description="Finished tasks that were moved to the archive",
        panels=[
            *(
                tile(title, _ARCHIVE, count(title), query=query, width=16)
                for title, query in (
                    ("Done", _STATES["Done"]),
                    ("Dead", _STATES["Dead"]),
                    ("Total", ""),
                )
            ),
            *(
                chart(
                    f"Finished by {field}",
                    Layer(
                        _ARCHIVE,
                        {
                            "s": terms(field.capitalize(), field, by="n"),
                            "x": over_time("Finished", _FINISHED),
                            "n": _tasks(),
                        },
                    ),
                    series="bar_stacked",
                )
                for field in ("state", "queue")
            ),
            *_percentiles(_ARCHIVE),
            _failures(_ARCHIVE),
            _completions(_ARCHIVE),
        ],
        controls=(_ARCHIVE, _CONTROLS),
    )


def _tasks() -> dict[str, object]:
    return count("Tasks")


def _throughput() -> Panel:
    ended = {
        "x": over_time("Time", _FINISHED),
        "done": count("Done", _STATES["Done"]),
        "failed": count("Failed", _FAILED),
    }
    created = {"x": over_time("Time", "metadata.created_at"), "n": count("Created")}
    return chart(
        "Throughput: created, done, failed",
        Layer(_ALL, created),
        Layer(_ALL, ended),
        series="line",
    )


def _percentiles(view: str) -> list[Panel]:
    figures = (
        ("Wait until claimed, ms", "last_claimed.claimed_at", "last_claimed.wait_ms"),
        ("Run time, ms", _FINISHED, "last_claimed.run_ms"),
    )
    return [
        chart(
            title,
            Layer(
                view,
                {"x": over_time("Time", time)}
                | {f"p{each}": percentile(f"p{each}", field, each) for each in (50, 95, 99)},
            ),
            series="line",
        )
        for title, time, field in figures
    ]


def _failures(view: str) -> Panel:
    return table(
        "Failures by kind and message",
        view,
        {
            "kind": terms("Kind", "kind", by="n"),
            "reason": terms("Message", _REASON, by="n"),
            "n": count("Failures"),
            "last": latest("Last", _FINISHED),
        },
        query=_FAILED,
    )


def _completions(view: str) -> Panel:
    return chart(
        "Completions by worker and queue",
        Layer(
            view,
            {
                "q": terms("Queue", "queue", by="n"),
                "w": terms("Worker", _WORKER, by="n", size=30),
                "n": count("Done"),
            },
        ),
        series="bar_horizontal_stacked",
        query=_STATES["Done"],
    )


def _recurring_tasks() -> Panel:
    return table(
        "Recurring tasks",
        _RECURRING,
        {
            "id": terms("Recurring task", "id", by=None, size=100),
            "schedule": terms("Schedule", "schedule_expression", by=None, size=1),
            "queue": terms("Queue", "task_definition.queue", by=None, size=1),
            "last": latest("Last fired", "last_fired_at"),
        },
        query="not is_deleted : true",
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(ndjson(saved_objects(*sys.argv[1:2])))
