"""Columns of Lens, Kibana's chart editor: buckets that split documents, and metrics over them."""

from __future__ import annotations

from typing import Any

Column = dict[str, Any]


def over_time(label: str, field: str) -> Column:
    """Buckets of time; of a field other than the data view's, the range holds for that one."""
    params = {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
    return _column(label, "date_histogram", field, params, kind="date", scale="interval")


def terms(label: str, field: str, *, by: str | None, size: int = 10) -> Column:
    """A bucket for each of the first values, by the column `by` falling, else alphabetically."""
    params = {
        "size": size,
        "orderBy": {"type": "column", "columnId": by} if by else {"type": "alphabetical"},
        "orderDirection": "desc" if by else "asc",
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }
    return _column(label, "terms", field, params, kind="string", scale="ordinal")


def count(label: str, query: str = "") -> Column:
    """How many documents there are, or how many of them match some KQL."""
    column = _column(label, "count", "___records___", {"emptyAsNull": False})
    return column | {"filter": {"query": query, "language": "kuery"}} if query else column


def percentile(label: str, field: str, percent: int) -> Column:
    """The value that so many percent of the documents do not exceed."""
    return _column(label, "percentile", field, {"percentile": percent})


def earliest(label: str, field: str) -> Column:
    """The first instant."""
    return _column(label, "min", field, {}, kind="date")


def latest(label: str, field: str) -> Column:
    """The last instant."""
    return _column(label, "max", field, {}, kind="date")


def _column(
    label: str,
    operation: str,
    field: str,
    params: dict[str, Any],
    *,
    kind: str = "number",
    scale: str = "ratio",
) -> Column:
    return {
        "label": label,
        "customLabel": True,
        "dataType": kind,
        "operationType": operation,
        "isBucketed": operation in ("date_histogram", "terms"),
        "scale": scale,
        "sourceField": field,
        "params": params,
    }
