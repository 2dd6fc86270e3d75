"""What Kibana asks Elasticsearch for a panel, as far as our panels go."""

from __future__ import annotations

import re

import orjson

_COMPARISONS = {"<=": "lte", ">=": "gte", "<": "lt", ">": "gt"}


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


def panel_searches(dashboard):
    """For each layer of each panel: the panel's title, the data view and the search."""
    for panel in orjson.loads(dashboard["attributes"]["panelsJSON"]):
        attributes = panel["embeddableConfig"]["attributes"]
        layers = attributes["state"]["datasourceStates"]["formBased"]["layers"]
        for reference in attributes["references"]:
            layer = layers[reference["name"].removeprefix("indexpattern-datasource-layer-")]
            body = {
                "size": 0,
                "track_total_hits": True,
                "query": kql(attributes["state"]["query"]["query"]),
                "aggs": _aggregations(layer),
            }
            yield panel["title"], reference["id"], body


def _aggregations(layer):
    columns = {name: layer["columns"][name] for name in layer["columnOrder"]}
    aggregations = {
        name: _metric(column) for name, column in columns.items() if not column["isBucketed"]
    }
    for name, column in reversed(columns.items()):
        if column["isBucketed"]:
            aggregations = {name: _bucket(column, columns) | {"aggs": aggregations}}
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


def _bucket(column, columns):
    field, params = {"field": column["sourceField"]}, column["params"]
    if column["operationType"] == "date_histogram":
        return {"date_histogram": field | {"fixed_interval": "30m"}}
    by = params["orderBy"].get("columnId")
    key = "_key" if by is None else "_count"
    assert by is None or columns[by]["operationType"] == "count", "use a count"
    return {"terms": field | {"size": params["size"], "order": {key: params["orderDirection"]}}}
