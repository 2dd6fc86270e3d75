"""The API document: OpenAPI 3.1, in a form that client generators understand well."""

from __future__ import annotations

from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

Schema = dict[str, Any]

_DESCRIPTION: Final = """\
Tasks in queues, kept in Elasticsearch.

**Enqueue** a task, let a worker **claim** it, **report in** while it takes long, and say whether
it is **done** or **failed**. A failed task, or one whose worker fell silent, is tried again until
it is out of attempts. A **recurring task** enqueues one at each instant of its schedule.

Durations are text such as `30s`, `5m` or `1h30m`; instants are RFC 3339. An explicit null in a
request is the same as an absent member, and answers have no nulls, with one exception: the
`next_fire_at` of a recurring task is null when its schedule has no instant to come.
"""
_BOUNDS: Final = frozenset({"minimum", "maximum"})  # FastAPI writes them as floats
_LARGEST_EXACT: Final = 2**53
_NOT_OURS: Final = ("HTTPValidationError", "ValidationError")


def api_document(routes: list[BaseRoute], version: str) -> Schema:
    """Describe the documented ones of `routes`."""
    document = get_openapi(
        title="Tasques API",
        version=version,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=routes,
        servers=[{"url": "/"}],
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        tags=[
            {"name": "tasks", "description": "Enqueue tasks and work on them."},
            {"name": "recurring-tasks", "description": "Enqueue tasks on a schedule."},
            {"name": "health", "description": "For orchestrators and load balancers."},
            {"name": "metrics", "description": "For Prometheus."},
        ],
    )
    for path in document["paths"].values():
        for operation in path.values():
            _tidy_operation(operation)
    components = document["components"]
    components["schemas"] = {
        name: _tidy_schema(schema)
        for name, schema in components["schemas"].items()
        if name not in _NOT_OURS
    }
    components["securitySchemes"] = {"BasicAuth": {"type": "http", "scheme": "basic"}}
    return document


def _tidy_operation(operation: Schema) -> None:
    operation["responses"].pop("422", None)  # a bad request is answered with 400
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _tidy_schema(parameter["schema"])
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            content["schema"] = _tidy_schema(content["schema"])


def _tidy_schema(schema: Schema) -> Schema:
    """Without titles that repeat names, and optional by absence instead of by null."""
    tidy = {name: value for name, value in schema.items() if name != "title"}
    if tidy.get("default", ...) is None:
        del tidy["default"]
    for bound in _BOUNDS.intersection(tidy):
        if abs(tidy[bound]) > _LARGEST_EXACT:
            del tidy[bound]  # the format says as much
        else:
            tidy[bound] = int(tidy[bound])
    alternatives = [kind for kind in tidy.pop("anyOf", ()) if kind.get("type") != "null"]
    if alternatives:
        (only,) = alternatives
        tidy = _tidy_schema(only) | tidy
    if "properties" in tidy:
        tidy["properties"] = {
            name: _tidy_schema(member) for name, member in tidy["properties"].items()
        }
    if isinstance(tidy.get("items"), dict):
        tidy["items"] = _tidy_schema(tidy["items"])
    return tidy
