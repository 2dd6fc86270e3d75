"""Panels of a dashboard: tiles, charts over time, bars and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasques.kibana.columns import Column

_LAYER: Final = "indexpattern-datasource-layer-"


@dataclass(frozen=True, slots=True)
class Layer:
    """Columns over a data view, the buckets first.

    Attributes:
        view: the id of the data view.
        columns: by their names.
    """

    view: str
    columns: Mapping[str, Column]

    @property
    def buckets(self) -> list[str]:
        """The columns that split."""
        return [name for name, column in self.columns.items() if column["isBucketed"]]

    @property
    def metrics(self) -> list[str]:
        """The columns that measure."""
        return [name for name, column in self.columns.items() if not column["isBucketed"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A chart, its title, and its size on a grid of 48 columns; `query` is KQL."""

    title: str
    kind: str
    layers: tuple[Layer, ...]
    visualization: Mapping[str, Any]
    query: str = ""
    width: int = 24
    height: int = 12

    @property
    def references(self) -> list[dict[str, str]]:
        """The data views of the layers, in the form of Kibana's references."""
        return [
            {"type": "index-pattern", "id": layer.view, "name": f"{_LAYER}l{number}"}
            for number, layer in enumerate(self.layers)
        ]

    @property
    def attributes(self) -> dict[str, Any]:
        """The panel as Lens stores it."""
        return {
            "title": self.title,
            "type": "lens",
            "visualizationType": self.kind,
            "references": self.references,
            "state": {
                "query": {"query": self.query, "language": "kuery"},
                "filters": [],
                "internalReferences": [],
                "adHocDataViews": {},
                "datasourceStates": {"formBased": {"layers": self._layers()}},
                "visualization": dict(self.visualization),
            },
        }

    def _layers(self) -> dict[str, Any]:
        return {
            f"l{number}": {
                "columnOrder": list(layer.columns),
                "columns": dict(layer.columns),
                "incompleteColumns": {},
                "sampling": 1,
            }
            for number, layer in enumerate(self.layers)
        }


def tile(title: str, view: str, column: Column, *, query: str = "", width: int = 6) -> Panel:
    """One large number."""
    return Panel(
        title=title,
        kind="lnsMetric",
        layers=(Layer(view, {"n": column}),),
        visualization={"layerId": "l0", "layerType": "data", "metricAccessor": "n"},
        query=query,
        width=width,
        height=6,
    )


def table(title: str, view: str, columns: Mapping[str, Column], *, query: str = "") -> Panel:
    """Rows for the buckets; sorted by the first metric."""
    layer = Layer(view, columns)
    return Panel(
        title=title,
        kind="lnsDatatable",
        layers=(layer,),
        visualization={
            "layerId": "l0",
            "layerType": "data",
            "columns": [{"columnId": name} for name in columns],
            "paging": {"enabled": True, "size": 10},
            "sorting": {"columnId": layer.metrics[0], "direction": "desc"},
        },
        query=query,
    )


def chart(title: str, *layers: Layer, series: str, query: str = "") -> Panel:
    """A chart of axes: the last bucket of a layer is its x axis, one before it its colours."""
    return Panel(
        title=title,
        kind="lnsXY",
        layers=layers,
        visualization={
            "preferredSeriesType": series,
            "legend": {"isVisible": True, "position": "right"},
            "valueLabels": "hide",
            "layers": [_axes(number, layer, series) for number, layer in enumerate(layers)],
        },
        query=query,
    )


def _axes(number: int, layer: Layer, series: str) -> dict[str, Any]:
    *colours, x = layer.buckets
    axes = {
        "layerId": f"l{number}",
        "layerType": "data",
        "seriesType": series,
        "xAccessor": x,
        "accessors": layer.metrics,
    }
    return axes | {"splitAccessor": colours[0]} if colours else axes
