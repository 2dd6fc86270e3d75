"""The steps of a set-up. Each looks at what is there and does only what is missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from elasticsearch import ApiError, AsyncElasticsearch

from tasques.repository import lifecycle, mappings
from tasques.repository.aliases import alias_actions, alias_problem, choose, displaced, holders
from tasques.repository.indices import IndexSettings, IndexSpec, StoredIndex, find
from tasques.repository.lifecycle import LifecyclePolicy
from tasques.repository.setup_errors import SetupError, error_type, explained
from tasques.repository.setup_report import SetupReport
from tasques.repository.templates import (
    find_template,
    is_as_wanted,
    put_template,
    template_version,
)

log = logging.getLogger(__name__)


class SetupSteps:
    """One run of a set-up.

    Attributes:
        report: what was found and done so far.
    """

    def __init__(self, client: AsyncElasticsearch, settings: IndexSettings) -> None:
        self.report = SetupReport()
        self._client = client
        self._settings = settings

    async def install(self, policy: LifecyclePolicy) -> None:
        """Have a lifecycle policy in Elasticsearch. Raises as `prepare`."""
        label = f"lifecycle policy {policy.name}"
        before = await lifecycle.stored_version(self._client, policy.name)
        await lifecycle.put(self._client, policy)
        if before is None:
            self.report.created.append(label)
        elif before == await lifecycle.stored_version(self._client, policy.name):
            self.report.unchanged.append(label)
        else:
            self.report.upgraded.append(label)

    async def prepare(self, spec: IndexSpec) -> None:
        """Do everything for one alias.

        Raises:
            SetupError: Elasticsearch refuses something, or an operator has to decide.
            StoreUnavailableError: Elasticsearch does not answer.
        """
        await self._template(spec)
        found, current = await self._index(spec)
        await self._mapping(spec, current)
        await self._alias(spec, found, current)
        await self._dynamic_settings(spec, current)

    # ------------------------------------------------------------------------ template

    async def _template(self, spec: IndexSpec) -> None:
        label = f"index template {spec.alias}"
        stored = await find_template(self._client, spec)
        if (version := template_version(stored)) > spec.version:
            self._leave_newer(label, version)
        elif stored is not None and is_as_wanted(stored, spec, self._settings):
            self.report.unchanged.append(label)
        else:
            await put_template(self._client, spec, self._settings)
            (self.report.created if stored is None else self.report.upgraded).append(label)

    # ------------------------------------------------------------------------ index

    async def _index(self, spec: IndexSpec) -> tuple[Mapping[str, StoredIndex], StoredIndex]:
        """Everything that has to do with the alias, and the index that it is for."""
        found = await find(self._client, spec)
        current = choose(spec, found)
        if current is None:
            for index in [] if spec.rolls_over else holders(spec, found):
                await self._require_empty(spec, index)
            await self._create(spec)
            found = await find(self._client, spec)
            current = choose(spec, found)
        if current is None:
            raise SetupError(f"Somebody deletes {spec.index} while it is set up.")
        if current.is_closed:
            raise SetupError(
                f"The index {current.name} is closed. Open it (POST /{current.name}/_open) and "
                "run the set-up again."
            )
        return found, current

    async def _create(self, spec: IndexSpec) -> None:
        privilege = f"privilege create_index on {spec.index}"
        with explained(f"create the index {spec.index}", privilege=privilege):
            try:
                # In full and not by the template: another template may outrank ours.
                await self._client.indices.create(
                    index=spec.index,
                    settings={"index": spec.settings_of_new(self._settings)},
                    mappings=spec.mapping,
                )
            except ApiError as error:
                if error_type(error) != "resource_already_exists_exception":
                    raise
                return  # another set-up was first
        self.report.created.append(f"index {spec.index}")

    async def _require_empty(self, spec: IndexSpec, index: StoredIndex) -> None:
        """To take the alias from an index hides what is in it: that is for people to decide."""
        privilege = f"privileges maintenance and read on {index.name}"
        with explained(f"count what is in {index.name}", privilege=privilege):
            await self._client.indices.refresh(index=index.name)
            count = (await self._client.count(index=index.name))["count"]
        if count:
            raise SetupError(
                f"The alias {spec.alias} points to {index.name}, which is not where this version "
                f"of Tasques keeps its documents, and which holds {count}. Move them, or take "
                "the alias from it, and run the set-up again."
            )

    # ------------------------------------------------------------------------ mapping

    async def _mapping(self, spec: IndexSpec, current: StoredIndex) -> None:
        label = f"mapping of {current.name}"
        if current.version > spec.version:
            self._leave_newer(label, current.version)
            return
        gap = mappings.difference(current.fields, spec.fields)
        if gap.conflicts:
            raise SetupError(
                f"The index {current.name} is not made for {spec.alias}: "
                f"{'; '.join(gap.conflicts)}. The type of a field can not be changed: copy what "
                "is in it to an index that the set-up made."
            )
        is_old = current.version < spec.version
        if not is_old and not gap.missing and current.is_strict:
            self.report.unchanged.append(label)
            return
        privilege = f"privilege manage on {current.name}"
        with explained(f"extend the mapping of {current.name}", privilege=privilege):
            await self._client.indices.put_mapping(
                index=current.name,
                dynamic="strict",
                meta={**current.meta, **spec.meta},
                properties=dict(gap.missing),
            )
        (self.report.upgraded if is_old else self.report.repaired).append(label)

    # ------------------------------------------------------------------------ alias

    async def _alias(
        self, spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
    ) -> None:
        label = f"alias {spec.alias} of {current.name}"
        if alias_problem(spec, found, current) is None:
            self.report.unchanged.append(label)
            return
        for index in displaced(spec, found, current):
            await self._require_empty(spec, index)
        privilege = f"privilege manage on {spec.alias} and the indices that have that alias"
        with explained(f"point the alias {spec.alias} to {current.name}", privilege=privilege):
            await self._client.indices.update_aliases(actions=alias_actions(spec, found, current))
        is_new = f"index {current.name}" in self.report.created and not holders(spec, found)
        (self.report.created if is_new else self.report.repaired).append(label)

    # ------------------------------------------------------------------------ settings

    async def _dynamic_settings(self, spec: IndexSpec, current: StoredIndex) -> None:
        shards = current.settings.get("number_of_shards")
        wanted = spec.settings_of_new(self._settings)["number_of_shards"]
        if shards != wanted:
            self.report.warn(
                f"The number of shards of {current.name} is {shards} and stays so, although "
                f"{wanted} is wanted: only a new index can have another one."
            )
        label = f"settings of {current.name}"
        changes = current.changes_to({**self._settings.dynamic, **spec.settings})
        if not changes:
            self.report.unchanged.append(label)
            return
        privilege = f"privilege manage on {current.name}"
        with explained(f"change the {label}", privilege=privilege):
            await self._client.indices.put_settings(index=current.name, settings={"index": changes})
        values = ", ".join(f"{name} = {value}" for name, value in changes.items())
        self.report.upgraded.append(f"{label}: {values}")

    def _leave_newer(self, label: str, version: int) -> None:
        log.info("left alone: made by a newer version", extra={"what": label, "version": version})
        self.report.unchanged.append(f"{label} (newer: version {version})")
