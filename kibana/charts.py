"""Panels of a dashboard, drawn roughly as Kibana's Lens draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from svg import FAINT

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#b0a300")
_LEGEND = 110
_ROW = 20
_LETTER = 11


@dataclass(frozen=True)
class Box:
    """Where something is drawn."""

    x: float
    y: float
    width: float
    height: float


def tile(drawing, box, value):
    middle = box.x + box.width / 2
    drawing.text(
        middle, box.y + box.height / 2 + 14, f"{value:,.0f}", size=38, anchor="middle", bold=True
    )


def table(drawing, box, columns, rows):
    """Names are to the left, numbers and instants to the right."""
    names = list(columns)
    width = box.width / len(names)
    for number, name in enumerate(names):
        is_name = columns[name]["dataType"] == "string"
        x = box.x + number * width + (0 if is_name else width - 8)
        anchor = "start" if is_name else "end"
        y = box.y + 12
        look = {"size": _LETTER, "anchor": anchor, "room": width - 8}
        drawing.text(x, y, columns[name]["label"], bold=True, **look)
        for row in rows[: int(box.height / _ROW) - 1]:
            y += _ROW
            drawing.text(x, y, _cell(row[name], columns[name]), **look)
    for number in range(min(len(rows), int(box.height / _ROW) - 1)):
        y = box.y + 18 + number * _ROW
        drawing.line([(box.x, y), (box.x + box.width, y)])


def lines(drawing, box, series, times):
    """Series are points by name; a missing point interrupts no line."""
    plot = _legend(drawing, box, series)
    top = _nice(max((y for points in series.values() for y in points.values() if y), default=1))
    _axes(drawing, plot, top, times)
    for colour, points in zip(COLOURS, series.values(), strict=False):
        known = [(x, y) for x, y in sorted(points.items()) if y is not None]
        drawing.line(
            [(_across(plot, x, times), _up(plot, y, top)) for x, y in known],
            stroke=colour,
            width=1.8,
        )


def stacked(drawing, box, series, times, interval):
    """Bars over time, one on another."""
    plot = _legend(drawing, box, series)
    heights = {}
    for points in series.values():
        for x, y in points.items():
            heights[x] = heights.get(x, 0) + y
    top = _nice(max(heights.values(), default=1))
    _axes(drawing, plot, top, times)
    below = dict.fromkeys(heights, 0)
    for colour, points in zip(COLOURS, series.values(), strict=False):
        for x, y in points.items():
            left = max(plot.x, _across(plot, x, times))
            right = min(plot.x + plot.width, _across(plot, x + interval, times))
            upper, lower = _up(plot, below[x] + y, top), _up(plot, below[x], top)
            drawing.rectangle(left, upper, right - left - 1, lower - upper, fill=colour)
            below[x] += y


def horizontal(drawing, box, series):
    """Bars to the right, one behind another, the longest first."""
    plot = _legend(drawing, box, series)
    totals = {}
    for points in series.values():
        for name, value in points.items():
            totals[name] = totals.get(name, 0) + value
    names = sorted(totals, key=totals.get, reverse=True)
    top = _nice(max(totals.values(), default=1))
    left, height = plot.x + 50, plot.height / max(1, len(names))
    ends = dict.fromkeys(names, left)
    for number, name in enumerate(names):
        drawing.text(
            left - 6, plot.y + (number + 0.5) * height + 4, name, size=_LETTER, anchor="end"
        )
    for colour, points in zip(COLOURS, series.values(), strict=False):
        for name, value in points.items():
            length = value / top * (plot.width - 50)
            y = plot.y + names.index(name) * height + 2
            drawing.rectangle(ends[name], y, length, height - 4, fill=colour)
            ends[name] += length
    for share in (0, 0.5, 1):
        x = left + share * (plot.width - 50)
        drawing.text(
            x, plot.y + plot.height + 16, _number(top * share), size=_LETTER, anchor="middle"
        )


def _legend(drawing, box, series):
    for number, (colour, name) in enumerate(zip(COLOURS, series, strict=False)):
        x, y = box.x + box.width - _LEGEND + 16, box.y + 6 + number * 18
        drawing.rectangle(x, y, 10, 10, fill=colour, radius=5)
        drawing.text(x + 15, y + 9, name, size=_LETTER, room=_LEGEND - 34)
    return Box(box.x + 44, box.y + 4, box.width - _LEGEND - 44, box.height - 26)


def _axes(drawing, plot, top, times):
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _up(plot, top * share, top)
        drawing.line([(plot.x, y), (plot.x + plot.width, y)])
        drawing.text(
            plot.x - 6, y + 4, _number(top * share), size=_LETTER, anchor="end", fill=FAINT
        )
    begin, end = times
    is_long = end - begin > 2 * 86_400_000
    step = 86_400_000 if is_long else 4 * 3_600_000
    for instant in range(math.ceil(begin / step) * step, int(end) + 1, step):
        x = _across(plot, instant, times)
        text = datetime.fromtimestamp(instant / 1000, UTC).strftime("%d %b" if is_long else "%H:%M")
        drawing.line([(x, plot.y + plot.height), (x, plot.y + plot.height + 4)], stroke=FAINT)
        drawing.text(x, plot.y + plot.height + 17, text, size=_LETTER, anchor="middle", fill=FAINT)


def _across(plot, x, times):
    begin, end = times
    return plot.x + (x - begin) / (end - begin) * plot.width


def _up(plot, y, top):
    return plot.y + plot.height * (1 - y / top)


def _nice(number):
    """The next round number."""
    power = 10 ** math.floor(math.log10(max(number, 1)))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if number <= step * power)


def _number(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _cell(value, column):
    if value is None:
        return "-"
    if column["dataType"] == "date":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%b %d, %H:%M:%S")
    return value if isinstance(value, str) else _number(value)
