"""The dashboards."""

from __future__ import annotations

from typing import Final

from tasques.kibana.columns import count, earliest, latest, over_time, percentile, terms
from tasques.kibana.names import FINISHED, STATES, WORKER, Names
from tasques.kibana.panels import Layer, Panel, chart, table, tile
from tasques.kibana.saved_objects import Object, dashboard

_REASON: Final = "last_claimed.result.reason"
_FAILED: Final = "state : (failed or dead)"
_CONTROLS: Final = (("queue", "Queue"), ("kind", "Kind"), (WORKER, "Worker"))


def overview(names: Names) -> Object:
    """What goes on now."""
    tiles = [
        tile(title, names.tasks, count(title), query=query, width=7 if title != "Total" else 6)
        for title, query in (STATES | {"Total": ""}).items()
    ]
    waiting = terms("Queue", "queue", by="n")
    return dashboard(
        names.id("overview"),
        title=names.title_of_dashboard("overview"),
        description="What waits, what runs, what failed and why, and how long it takes",
        panels=[
            *tiles,
            chart(
                "Unfinished tasks by queue, over the time they were enqueued",
                Layer(
                    names.tasks,
                    {"q": waiting, "x": over_time("Enqueued", "last_enqueued_at"), "n": _tasks()},
                ),
                series="bar_stacked",
                query="state : (queued or claimed or failed)",
            ),
            _throughput(names.everything),
            *_percentiles(names.everything),
            table(
                "Oldest waiting",
                names.tasks,
                {"q": waiting, "n": count("Waiting"), "due": earliest("Due since", "due_at")},
                query="due_at <= now",
            ),
            _failures(names.everything),
            _completions(names.everything),
            _recurring_tasks(names.recurring),
        ],
        controls=(names.everything, _CONTROLS),
    )


def archive(names: Names) -> Object:
    """What has been archived."""
    return dashboard(
        names.id("archive"),
        title=names.title_of_dashboard("archive"),
        description="Finished tasks that were moved to the archive",
        panels=[
            *(
                tile(title, names.archive, count(title), query=query, width=16)
                for title, query in (
                    ("Done", STATES["Done"]),
                    ("Dead", STATES["Dead"]),
                    ("Total", ""),
                )
            ),
            *(
                chart(
                    f"Finished by {field}",
                    Layer(
                        names.archive,
                        {
                            "s": terms(field.capitalize(), field, by="n"),
                            "x": over_time("Finished", FINISHED),
                            "n": _tasks(),
                        },
                    ),
                    series="bar_stacked",
                )
                for field in ("state", "queue")
            ),
            *_percentiles(names.archive),
            _failures(names.archive),
            _completions(names.archive),
        ],
        controls=(names.archive, _CONTROLS),
        since="now-7d",  # it begins a day ago, by default
    )


def _tasks() -> dict[str, object]:
    return count("Tasks")


def _throughput(view: str) -> Panel:
    ended = {
        "x": over_time("Time", FINISHED),
        "done": count("Done", STATES["Done"]),
        "failed": count("Failed", _FAILED),
    }
    created = {"x": over_time("Time", "metadata.created_at"), "n": count("Created")}
    return chart(
        "Throughput: created, done, failed",
        Layer(view, created),
        Layer(view, ended),
        series="line",
    )


def _percentiles(view: str) -> list[Panel]:
    figures = (
        ("Wait until claimed, ms", "last_claimed.claimed_at", "last_claimed.wait_ms"),
        ("Run time, ms", FINISHED, "last_claimed.run_ms"),
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
            "last": latest("Last", FINISHED),
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
                "w": terms("Worker", WORKER, by="n", size=30),
                "n": count("Done"),
            },
        ),
        series="bar_horizontal_stacked",
        query=STATES["Done"],
    )


def _recurring_tasks(view: str) -> Panel:
    return table(
        "Recurring tasks",
        view,
        {
            "id": terms("Recurring task", "id", by=None, size=100),
            "schedule": terms("Schedule", "schedule_expression", by=None, size=1),
            "queue": terms("Queue", "task_definition.queue", by=None, size=1),
            "last": latest("Last fired", "last_fired_at"),
        },
        query="not is_deleted : true",
    )
