"""The index templates that Tasques keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elasticsearch import AsyncElasticsearch, NotFoundError

from tasques.repository import mappings
from tasques.repository.indices import IndexSettings, IndexSpec, managed_version
from tasques.repository.setup_errors import explained


async def find_template(client: AsyncElasticsearch, spec: IndexSpec) -> Mapping[str, Any] | None:
    """The template of a spec as it is stored, or none.

    Raises:
        SetupError, StoreUnavailableError: Elasticsearch does not tell.
    """
    with explained(f"read the index template {spec.alias}", privilege="cluster privilege monitor"):
        try:
            answer = await client.indices.get_index_template(name=spec.alias, flat_settings=True)
        except NotFoundError:
            return None
    template: Mapping[str, Any] = answer["index_templates"][0]["index_template"]
    return template


def template_version(template: Mapping[str, Any] | None) -> int:
    """The version of a stored template; 0 if there is none or we did not make it."""
    return 0 if template is None else managed_version(template.get("_meta"))


def is_as_wanted(stored: Mapping[str, Any], spec: IndexSpec, settings: IndexSettings) -> bool:
    """Whether a stored template needs no writing."""
    template = stored.get("template", {})
    gap = mappings.difference(template.get("mappings", {}).get("properties", {}), spec.fields)
    return (
        template_version(stored) == spec.version
        and template.get("settings") == _settings(spec, settings)
        and tuple(stored.get("index_patterns", ())) == spec.patterns
        and stored.get("priority") == spec.priority
        and not gap.missing
        and not gap.conflicts
    )


async def put_template(
    client: AsyncElasticsearch, spec: IndexSpec, settings: IndexSettings
) -> None:
    """Write the template of a spec.

    Raises:
        SetupError, StoreUnavailableError: Elasticsearch did not take it.
    """
    privilege = "cluster privilege manage_index_templates"
    with explained(f"write the index template {spec.alias}", privilege=privilege):
        await client.indices.put_index_template(
            name=spec.alias,
            index_patterns=list(spec.patterns),
            priority=spec.priority,
            version=spec.version,
            meta=spec.meta,
            template={"settings": _settings(spec, settings), "mappings": spec.mapping},
        )


def _settings(spec: IndexSpec, settings: IndexSettings) -> dict[str, str]:
    wanted = spec.settings_of_new(settings)
    return {f"index.{name}": value for name, value in wanted.items()}
