"""Preparing Elasticsearch: index templates, indices, aliases, mappings and settings.

Every step looks at what is there and does what is missing, so that a set-up which was killed
anywhere, was run by an older version, or runs twice at once ends in the same state. What a newer
version made is left alone. Nothing is ever deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError

from tasques.repository import mappings
from tasques.repository.features import probe
from tasques.repository.indices import (
    PRIORITY,
    IndexNames,
    IndexSettings,
    IndexSpec,
    StoredIndex,
    alias_problem,
    choose,
    find,
    managed_version,
    specs,
)
from tasques.repository.setup_errors import SetupError, error_type, explained

log = logging.getLogger(__name__)

_TIMEOUT: Final = 60.0  # seconds; a busy master takes up to 30 before it gives up by itself
_TEMPLATES: Final = "cluster privilege manage_index_templates"


@dataclass(slots=True)
class SetupReport:
    """What a set-up found and did: one line for each thing; warnings are sentences."""

    created: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    upgraded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.created or self.repaired or self.upgraded)

    def warn(self, warning: str) -> None:
        """Keep a warning, and log it."""
        log.warning(warning)
        self.warnings.append(warning)


async def setup(
    client: AsyncElasticsearch,
    *,
    names: IndexNames,
    shards: int,
    replicas: int,
    refresh_interval: timedelta,
) -> SetupReport:
    """Make, repair or upgrade everything that Tasques needs in Elasticsearch.

    Args:
        client: may retry by itself; every request here can be repeated.
        names: of what is made.
        shards: primary shards of a new index.
        replicas: copies of each shard; an existing index is changed to it.
        refresh_interval: how old searches may be; an existing index is changed to it.

    Raises:
        SetupError: Elasticsearch refuses something, is too old, or an operator has to decide.
        StoreUnavailableError: Elasticsearch does not answer.
    """
    patient = client.options(request_timeout=_TIMEOUT)
    await probe(patient)
    settings = IndexSettings(shards=shards, replicas=replicas, refresh_interval=refresh_interval)
    run = _Setup(patient, settings)
    for spec in specs(names):
        await run.prepare(spec)
    return run.report


async def check(client: AsyncElasticsearch, names: IndexNames) -> list[str]:
    """What a server would miss, one sentence each; empty if it can start.

    Raises:
        SetupError: Elasticsearch refuses to tell.
        StoreUnavailableError: Elasticsearch does not answer.
    """
    problems: list[str] = []
    for spec in specs(names):
        template = await _find_template(client, spec)
        if _template_version(template) < spec.version:
            how = "older than this version of Tasques" if template else "missing"
            problems.append(f"the index template {spec.alias} is {how}")
        problems += _index_problems(spec, await find(client, spec))
    return problems


def _index_problems(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> list[str]:
    try:
        current = choose(spec, found)
    except SetupError as error:
        return [str(error)]
    if current is None:
        return [f"the index {spec.index} with the alias {spec.alias} is missing"]
    problems = []
    if problem := alias_problem(spec, found, current):
        problems.append(problem)
    if current.is_closed:
        problems.append(f"the index {current.name} is closed")
    if current.version < spec.version:
        problems.append(f"the mapping of {current.name} is older than this version of Tasques")
    return problems


class _Setup:
    """One run."""

    def __init__(self, client: AsyncElasticsearch, settings: IndexSettings) -> None:
        self.report = SetupReport()
        self._client = client
        self._settings = settings

    async def prepare(self, spec: IndexSpec) -> None:
        await self._template(spec)
        found = await find(self._client, spec)
        current = choose(spec, found)
        if current is None:
            await self._require_empty(spec, found)
            await self._create(spec)
            found = await find(self._client, spec)
            current = found[spec.index]
        if current.is_closed:
            raise SetupError(
                f"The index {current.name} is closed. Open it (POST /{current.name}/_open) and "
                "run the set-up again."
            )
        await self._mapping(spec, current)
        await self._alias(spec, found, current)
        await self._dynamic_settings(current)

    # ---------------------------------------------------------------------------- template

    async def _template(self, spec: IndexSpec) -> None:
        stored = await _find_template(self._client, spec)
        version = _template_version(stored)
        label = f"index template {spec.alias}"
        if version > spec.version:
            self.report.unchanged.append(f"{label} (newer: {version})")
            log.info("index template is newer, left alone", extra={"template": spec.alias})
        elif stored is not None and self._is_as_wanted(spec, stored):
            self.report.unchanged.append(label)
        else:
            await self._put_template(spec)
            (self.report.created if stored is None else self.report.upgraded).append(label)

    def _is_as_wanted(self, spec: IndexSpec, stored: Mapping[str, Any]) -> bool:
        template = stored.get("template", {})
        gap = mappings.difference(template.get("mappings", {}).get("properties", {}), spec.fields)
        return (
            _template_version(stored) == spec.version
            and template.get("settings", {}).get("index") == self._settings.all
            and tuple(stored.get("index_patterns", ())) == spec.patterns
            and not gap.missing
            and not gap.conflicts
        )

    async def _put_template(self, spec: IndexSpec) -> None:
        with explained(f"write the index template {spec.alias}", privilege=_TEMPLATES):
            await self._client.indices.put_index_template(
                name=spec.alias,
                index_patterns=list(spec.patterns),
                priority=PRIORITY,
                version=spec.version,
                meta=spec.meta,
                template={"settings": {"index": self._settings.all}, "mappings": spec.mapping},
            )

    # ---------------------------------------------------------------------------- index

    async def _create(self, spec: IndexSpec) -> None:
        with explained(
            f"create the index {spec.index}",
            privilege=f"privilege create_index on {spec.index}",
        ):
            try:
                # In full, not by the template: another one may outrank ours.
                await self._client.indices.create(
                    index=spec.index,
                    settings={"index": self._settings.all},
                    mappings=spec.mapping,
                )
            except ApiError as error:
                if error_type(error) != "resource_already_exists_exception":
                    raise
                return  # another set-up was first
        self.report.created.append(f"index {spec.index}")

    async def _mapping(self, spec: IndexSpec, current: StoredIndex) -> None:
        label = f"mapping of {current.name}"
        if current.version > spec.version:
            self.report.unchanged.append(f"{label} (newer: {current.version})")
            log.info("mapping is newer, left alone", extra={"index": current.name})
            return
        gap = mappings.difference(current.fields, spec.fields)
        if gap.conflicts:
            raise SetupError(
                f"The index {current.name} can not hold tasks: {'; '.join(gap.conflicts)}. Types "
                "can not be changed: copy what is in it to an index that the set-up made."
            )
        is_strict = str(current.mapping.get("dynamic")) == "strict"
        if current.version == spec.version and is_strict and not gap.missing:
            self.report.unchanged.append(label)
            return
        await self._put_mapping(spec, current, gap.missing)
        is_old = current.version < spec.version
        (self.report.upgraded if is_old else self.report.repaired).append(label)

    async def _put_mapping(
        self, spec: IndexSpec, current: StoredIndex, missing: mappings.Fields
    ) -> None:
        with explained(
            f"extend the mapping of {current.name}",
            privilege=f"privilege manage on {current.name}",
        ):
            await self._client.indices.put_mapping(
                index=current.name,
                dynamic="strict",
                meta={**current.mapping.get("_meta", {}), **spec.meta},
                properties=dict(missing),
            )

    async def _dynamic_settings(self, current: StoredIndex) -> None:
        stored = current.settings
        if (shards := str(stored.get("number_of_shards"))) != str(self._settings.shards):
            self.report.warn(
                f"The number of shards of the index {current.name} is {shards}, and stays so; the "
                f"settings say {self._settings.shards}. It takes a copy to another index."
            )
        changes = {
            name: value
            for name, value in self._settings.dynamic.items()
            if stored.get(name) != value
        }
        if stored.get("auto_expand_replicas", "false") != "false":
            changes.pop("number_of_replicas", None)  # Elasticsearch decides, and would undo it
        if not changes:
            self.report.unchanged.append(f"settings of {current.name}")
            return
        with explained(
            f"change the settings of {current.name}",
            privilege=f"privilege manage on {current.name}",
        ):
            await self._client.indices.put_settings(index=current.name, settings={"index": changes})
        what = ", ".join(f"{name} = {value}" for name, value in changes.items())
        self.report.upgraded.append(f"settings of {current.name}: {what}")

    # ---------------------------------------------------------------------------- alias

    async def _alias(
        self, spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
    ) -> None:
        label = f"alias {spec.alias} of {current.name}"
        problem = alias_problem(spec, found, current)
        if problem is None:
            self.report.unchanged.append(label)
            return
        others = [i for i in found.values() if spec.alias in i.aliases and i is not current]
        for index in others:
            await self._require_empty_index(spec, index)
        with explained(
            f"point the alias {spec.alias} to {current.name}",
            privilege=f"privilege manage on {spec.alias}*",
        ):
            # One change of the cluster's state: the alias is never on both or on none.
            await self._client.indices.update_aliases(
                actions=[
                    *({"remove": {"index": i.name, "alias": spec.alias}} for i in others),
                    {
                        "add": {
                            "index": current.name,
                            "alias": spec.alias,
                            "is_write_index": True,
                        }
                    },
                ]
            )
        (self.report.repaired if others else self.report.created).append(label)

    async def _require_empty(self, spec: IndexSpec, found: Mapping[str, StoredIndex]) -> None:
        for index in found.values():
            if spec.alias in index.aliases:
                await self._require_empty_index(spec, index)

    async def _require_empty_index(self, spec: IndexSpec, index: StoredIndex) -> None:
        """Taking the alias from an index hides what is in it: that is for people to decide."""
        with explained(
            f"count what is in {index.name}", privilege=f"privilege manage on {index.name}"
        ):
            await self._client.indices.refresh(index=index.name)
            count = (await self._client.count(index=index.name))["count"]
        if count:
            raise SetupError(
                f"The alias {spec.alias} points to {index.name}, which is not where this version "
                f"of Tasques keeps its documents, and which holds {count}. Move them, or take "
                "the alias from it, and run the set-up again."
            )


async def _find_template(client: AsyncElasticsearch, spec: IndexSpec) -> Mapping[str, Any] | None:
    with explained(f"read the index template {spec.alias}", privilege=_TEMPLATES):
        try:
            answer = await client.indices.get_index_template(name=spec.alias)
        except NotFoundError:
            return None
    template: Mapping[str, Any] = answer["index_templates"][0]["index_template"]
    return template


def _template_version(template: Mapping[str, Any] | None) -> int:
    return 0 if template is None else managed_version(template.get("_meta"))
