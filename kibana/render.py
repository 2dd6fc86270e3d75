"""Pictures of the dashboards in kibana/tasques.ndjson: `make pictures`.

Not by Kibana: this runs the aggregations of each panel on an Elasticsearch with made-up tasks, and
draws the answers where the dashboard places the panels.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import charts
import orjson
from charts import Box
from elasticsearch import AsyncElasticsearch
from panel_searches import panels_of, rows_of, search_of
from sample_data import sample
from svg import FAINT, RULE, Drawing

from tasques.embedded import Cluster
from tasques.repository.indices import IndexNames
from tasques.repository.setup import setup

_OBJECTS = Path(__file__).with_name("tasques.ndjson")
_PICTURES = Path(__file__).parents[1] / "docs" / "images"
_COLUMN, _ROW, _GAP, _HEAD = 25, 20, 8, 84
_SECOND = timedelta(seconds=1)
_SPANS = {"now-24h": (timedelta(days=1), 30), "now-7d": (timedelta(days=7), 180)}
_CHUNK = 2000


async def fill(client, names, documents):
    """Set Elasticsearch up, and put documents there."""
    await setup(client, names=names, shards=1, replicas=0, refresh_interval=_SECOND)
    for of, those in documents.items():
        alias = f"{names.prefix}-{of}"
        for begin in range(0, len(those), _CHUNK):
            lines = [
                line for each in those[begin : begin + _CHUNK] for line in ({"create": {}}, each)
            ]
            answer = await client.bulk(index=alias, operations=lines)
            assert not answer["errors"], answer["items"][0]
        await client.indices.refresh(index=alias)


async def pictures(client, objects, now):
    """The name of each dashboard, and its picture as SVG."""
    views = {each["id"]: each["attributes"] for each in objects if each["type"] == "index-pattern"}
    for each in objects:
        if each["type"] == "dashboard":
            yield each["id"], str(await _picture(client, each, views, now))


async def _picture(client, dashboard, views, now):
    span, minutes = _SPANS[dashboard["attributes"]["timeFrom"]]
    times = tuple(instant.timestamp() * 1000 for instant in (now - span, now))
    found = list(panels_of(dashboard))
    grids = [panel["gridData"] for panel, _, _ in found]
    height = _HEAD + _ROW * max(grid["y"] + grid["h"] for grid in grids) + _GAP
    drawing = Drawing(48 * _COLUMN + _GAP, height, background="#f6f9fc")
    _head(drawing, dashboard["attributes"])
    for panel, attributes, layers in found:
        answers = []
        for view, columns in layers:
            body = search_of(
                attributes,
                columns,
                interval=f"{minutes}m",
                within=_within(views[view], columns, times),
            )
            answer = await client.search(index=views[view]["title"], **body)
            answers.append((columns, list(rows_of(answer["aggregations"], columns))))
        _draw(drawing, panel, attributes, answers, times, minutes * 60_000)
    return drawing


def _within(view, columns, times):
    """As Kibana does: of a chart over time its field, else that of the data view, if it has one."""
    over = [c["sourceField"] for c in columns.values() if c["operationType"] == "date_histogram"]
    field = next(iter(over), view.get("timeFieldName"))
    begin, end = map(int, times)
    return {field: {"gte": begin, "lte": end, "format": "epoch_millis"}} if field else {}


def _head(drawing, attributes):
    drawing.text(16, 28, attributes["title"], size=20, bold=True)
    begin = attributes["timeFrom"].removeprefix("now-")
    drawing.text(48 * _COLUMN - 8, 28, f"last {begin}", size=13, anchor="end", fill=FAINT)
    controls = orjson.loads(attributes["controlGroupInput"]["panelsJSON"]).values()
    width = (48 * _COLUMN - _GAP) / len(controls)
    for number, control in enumerate(controls):
        x = _GAP + number * width
        drawing.rectangle(x, 42, width - _GAP, 32, fill="#ffffff", stroke=RULE, radius=4)
        drawing.text(x + 12, 62, control["explicitInput"]["title"], bold=True)
        drawing.text(x + 84, 62, "Any", fill=FAINT)


def _draw(drawing, panel, attributes, answers, times, interval):
    grid = panel["gridData"]
    x, y = _GAP + grid["x"] * _COLUMN, _HEAD + grid["y"] * _ROW
    width, height = grid["w"] * _COLUMN - _GAP, grid["h"] * _ROW - _GAP
    drawing.rectangle(x, y, width, height, stroke=RULE, radius=4)
    drawing.text(x + 10, y + 20, panel["title"], size=13, bold=True, room=width - 16)
    box = Box(x + 12, y + 34, width - 24, height - 44)
    columns, rows = answers[0]
    visualization = attributes["state"]["visualization"]
    match attributes["visualizationType"], visualization.get("preferredSeriesType"):
        case "lnsMetric", _:
            charts.tile(drawing, box, rows[0][visualization["metricAccessor"]])
        case "lnsDatatable", _:
            by = visualization["sorting"]["columnId"]
            known = sorted(rows, key=lambda row: row[by] or 0, reverse=True)
            charts.table(drawing, box, columns, known)
        case "lnsXY", "line":
            charts.lines(drawing, box, _series(visualization, answers), times)
        case "lnsXY", "bar_stacked":
            charts.stacked(drawing, box, _series(visualization, answers), times, interval)
        case "lnsXY", "bar_horizontal_stacked":
            charts.horizontal(drawing, box, _series(visualization, answers))
        case kind:
            raise NotImplementedError(kind)


def _series(visualization, answers):
    """Values over x, by the label of the column or what splits it."""
    series = {}
    for axes, (columns, rows) in zip(visualization["layers"], answers, strict=True):
        for name in axes["accessors"]:
            for row in rows:
                split = axes.get("splitAccessor")
                label = row[split] if split else columns[name]["label"]
                series.setdefault(label, {})[row[axes["xAccessor"]]] = row[name]
    return series


async def main(folder, url, *, tasks=1500):
    """Draw all into a folder."""
    now = datetime.now(UTC)
    objects = [orjson.loads(line) for line in _OBJECTS.read_bytes().splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncElasticsearch(url, request_timeout=60) as client:
        await fill(client, IndexNames("tasques"), sample(now, tasks=tasks))
        async for name, picture in pictures(client, objects, now):
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    with Cluster() as cluster:
        asyncio.run(main(Path(*sys.argv[1:2]) if sys.argv[1:] else _PICTURES, cluster.urls[0]))
