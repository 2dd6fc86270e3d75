"""What Kibana asks Elasticsearch for a panel, as far as our panels go, and what the answer says."""

from __future__ import annotations

import re

import orjson

_COMPARISONS = {"<=": "lte", ">=": "gte", "<": "lt", ">": "gt"}
_LAYER = "indexpattern-datasource-layer-"


def kql(text):
    """The query that some KQL stands for: conditions joined by `and`."""
    return {"bool": {"filter": [_condition(part) for part in text.split(" and ") if part]}}


def _condition(text):
    match = re.fullmatch(r"(not )?([\w.]+) (:|<=|>=|<|>) (\((.+)\)|\w+)", text)
    assert match, f"KQL that this does not know: {text}"
    negated, field, operator, value, values = match.groups()
    if operator == ":":
        query = {"terms": {field: (values or value).split(" or ")}}
    else:
        query = {"range": {field: {_COMPARISONS[operator]: value}}}
    return {"bool": {"must_not": [query]}} if negated else query


def panels_of(dashboard):
    """The panels, with their layers in the order of the references."""
    for panel in orjson.loads(dashboard["attributes"]["panelsJSON"]):
        attributes = panel["embeddableConfig"]["attributes"]
        layers = attributes["state"]["datasourceStates"]["formBased"]["layers"]
        named = [
            (reference["id"], _in_order(layers[reference["name"].removeprefix(_LAYER)]))
            for reference in attributes["references"]
        ]
        yield panel, attributes, named


def panel_searches(dashboard):
    """For each layer of each panel: the panel's title, the data view and the search."""
    for panel, attributes, layers in panels_of(dashboard):
        for view, columns in layers:
            yield panel["title"], view, search_of(attributes, columns)


def search_of(attributes, columns, *, interval="30m", within=None):
    """The search of a layer; `within` limits fields to ranges."""
    query = kql(attributes["state"]["query"]["query"])
    query["bool"]["filter"] += [{"range": {field: span}} for field, span in (within or {}).items()]
    return {
        "size": 0,
        "track_total_hits": True,
        "query": query,
        "aggs": _aggregations(columns, interval),
    }


def rows_of(aggregations, columns):
    """The answer as a table: a value for each column, a row for each innermost bucket."""
    (name, *_) = columns
    if not columns[name]["isBucketed"]:
        yield {name: _value(aggregations[name], columns[name]) for name in columns}
        return
    rest = {other: column for other, column in columns.items() if other != name}
    for bucket in aggregations[name]["buckets"]:
        for row in rows_of(bucket, rest):
            yield {name: bucket["key"], **row}


def _in_order(layer):
    return {name: layer["columns"][name] for name in layer["columnOrder"]}


def _aggregations(columns, interval):
    aggregations = {
        name: _metric(column) for name, column in columns.items() if not column["isBucketed"]
    }
    for name, column in reversed(columns.items()):
        if column["isBucketed"]:
            aggregations = {name: _bucket(column, columns, interval) | {"aggs": aggregations}}
    return aggregations


def _metric(column):
    field = {"field": column["sourceField"]}
    match column["operationType"]:
        case "count":
            return {"filter": kql(column.get("filter", {}).get("query", ""))}
        case "percentile":
            return {"percentiles": field | {"percents": [column["params"]["percentile"]]}}
        case operation:
            return {operation: field}


def _value(answer, column):
    match column["operationType"]:
        case "count":
            return answer["doc_count"]
        case "percentile":
            return next(iter(answer["values"].values()))
        case _:
            return answer["value"]


def _bucket(column, columns, interval):
    field, params = {"field": column["sourceField"]}, column["params"]
    if column["operationType"] == "date_histogram":
        return {"date_histogram": field | {"fixed_interval": interval}}
    by = params["orderBy"].get("columnId")
    key = "_key" if by is None else "_count"
    assert by is None or columns[by]["operationType"] == "count", "use a count"
    return {"terms": field | {"size": params["size"], "order": {key: params["orderDirection"]}}}
