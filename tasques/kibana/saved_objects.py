"""The objects themselves, in the envelope in which Kibana imports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from tasques.kibana.panels import Panel

_SEARCH_SOURCE: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
_VERSIONS: Final = {"index-pattern": "8.0.0", "search": "8.0.0", "dashboard": "8.9.0"}
_GRID: Final = 48

Object = dict[str, Any]


def data_view(view: str, *, name: str, indices: str, time: str | None) -> Object:
    """A data view; without a time field, no range of time hides anything."""
    attributes: Object = {
        "title": indices,
        "name": name,
        "allowNoIndex": True,
        "allowHidden": False,
        "fields": "[]",
        "sourceFilters": "[]",
        "runtimeFieldMap": "{}",
    }
    if time is not None:
        attributes["timeFieldName"] = time
    return _object("index-pattern", view, attributes, [])


def search(
    object_id: str, *, title: str, view: str, query: str, columns: Sequence[str], newest: str
) -> Object:
    """A saved search, sorted by the field `newest`; `query` is KQL."""
    source = {
        "query": {"query": query, "language": "kuery"},
        "filter": [],
        "indexRefName": _SEARCH_SOURCE,
    }
    attributes = {
        "title": title,
        "description": "",
        "columns": list(columns),
        "sort": [[newest, "desc"]],
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(source)},
    }
    return _object("search", object_id, attributes, [_reference(view, _SEARCH_SOURCE)])


def dashboard(
    object_id: str,
    *,
    title: str,
    description: str,
    panels: Sequence[Panel],
    controls: tuple[str, Sequence[tuple[str, str]]],
    since: str = "now-24h",
) -> Object:
    """A dashboard of what is since then; controls are a data view and fields with titles."""
    view, fields = controls
    references = [
        {**reference, "name": f"p{number}:{reference['name']}"}
        for number, panel in enumerate(panels)
        for reference in panel.references
    ]
    references += [
        _reference(view, f"controlGroup_c{number}:optionsListDataView")
        for number, _ in enumerate(fields)
    ]
    attributes = {
        "title": title,
        "description": description,
        "timeRestore": True,
        "timeFrom": since,
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 60_000},
        "version": 1,
        "panelsJSON": _json(_placed(panels)),
        "optionsJSON": _json({"useMargins": True, "syncCursor": True, "hidePanelTitles": False}),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": _json({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "controlGroupInput": _controls(fields),
    }
    return _object("dashboard", object_id, attributes, references)


def ndjson(objects: Sequence[Object]) -> bytes:
    """The file that Kibana imports."""
    return b"".join(orjson.dumps(each) + b"\n" for each in objects)


def _placed(panels: Sequence[Panel]) -> list[Object]:
    """Panels from left to right in rows; a row is as high as its highest panel."""
    placed: list[Object] = []
    x = y = height = 0
    for number, panel in enumerate(panels):
        if x + panel.width > _GRID:
            x, y, height = 0, y + height, 0
        grid = {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": f"p{number}"}
        placed.append(
            {
                "type": "lens",
                "panelIndex": f"p{number}",
                "title": panel.title,
                "gridData": grid,
                "embeddableConfig": {"enhancements": {}, "attributes": panel.attributes},
            }
        )
        x, height = x + panel.width, max(height, panel.height)
    return placed


def _controls(fields: Sequence[tuple[str, str]]) -> Object:
    ignored = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
    controls = {
        f"c{number}": {
            "type": "optionsListControl",
            "order": number,
            "width": "medium",
            "grow": True,
            "explicitInput": {
                "id": f"c{number}",
                "fieldName": field,
                "title": title,
                "selectedOptions": [],
            },
        }
        for number, (field, title) in enumerate(fields)
    }
    return {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "ignoreParentSettingsJSON": _json(dict.fromkeys(ignored, False)),
        "panelsJSON": _json(controls),
    }


def _reference(view: str, name: str) -> dict[str, str]:
    return {"type": "index-pattern", "id": view, "name": name}


def _object(kind: str, object_id: str, attributes: Object, references: Sequence[Object]) -> Object:
    return {
        "type": kind,
        "id": object_id,
        "attributes": attributes,
        "references": list(references),
        "managed": False,
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": _VERSIONS[kind],
    }


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
