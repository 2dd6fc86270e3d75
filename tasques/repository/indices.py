"""The indices that Tasques keeps: their names, what they should be, what is found of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from elasticsearch import AsyncElasticsearch

from tasques.repository import mappings
from tasques.repository.setup_errors import explained

_MILLISECOND: Final = timedelta(milliseconds=1)
_OWNER: Final = "tasques"
_BLOCKS: Final = frozenset({"blocks.read_only", "blocks.read_only_allow_delete", "blocks.write"})
_WITHOUT_FIELDS: Final = "*.aliases,*.settings,*.mappings._meta"
_LOWEST_PRIORITY: Final = 500  # above the templates that Elasticsearch brings: up to 200


@dataclass(frozen=True, slots=True)
class IndexNames:
    """Every name that Tasques uses in Elasticsearch begins with the prefix."""

    prefix: str

    @property
    def tasks_alias(self) -> str:
        """Through which tasks are read and written."""
        return f"{self.prefix}-tasks"

    @property
    def tasks_index(self) -> str:
        """The index that `setup` makes for tasks."""
        return f"{self.prefix}-tasks-v1"

    @property
    def processes_alias(self) -> str:
        """Through which the processes' signs of life are read and written."""
        return f"{self.prefix}-processes"

    @property
    def processes_index(self) -> str:
        """The index that `setup` makes for signs of life."""
        return f"{self.prefix}-processes-v1"

    @property
    def archive_alias(self) -> str:
        """Through which finished tasks are archived and searched."""
        return f"{self.prefix}-archive"

    @property
    def archive_index(self) -> str:
        """The first index that `setup` makes for the archive; roll-overs count up."""
        return f"{self.prefix}-archive-000001"

    @property
    def recurring_alias(self) -> str:
        """Through which recurring tasks are read and written."""
        return f"{self.prefix}-recurring"

    @property
    def recurring_index(self) -> str:
        """The index that `setup` makes for recurring tasks."""
        return f"{self.prefix}-recurring-v1"

    @property
    def leader_alias(self) -> str:
        """Through which the leader's lease is read and written."""
        return f"{self.prefix}-leader"

    @property
    def leader_index(self) -> str:
        """The index that `setup` makes for the leader's lease."""
        return f"{self.prefix}-leader-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """One alias with its index and its template (named like the alias).

    Attributes:
        alias: through which everything is read and written.
        index: the concrete index that is made when there is none.
        patterns: names of indices for which the template holds.
        version: of mapping and template.
        fields: the mapping's `properties`.
        rolls_over: whether the alias goes on in new indices, and is read over all of them.
        settings: of its indices, besides those that the operator decides.
        shards: how many it must have; None leaves that to the operator.
    """

    alias: str
    index: str
    patterns: tuple[str, ...]
    version: int
    fields: mappings.Fields
    rolls_over: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    shards: int | None = None

    def settings_of_new(self, decided: IndexSettings) -> dict[str, str]:
        """All settings of a new index, as Elasticsearch shows them flat."""
        shards = decided.shards if self.shards is None else self.shards
        return {**decided.all, "number_of_shards": str(shards), **self.settings}

    @property
    def meta(self) -> dict[str, object]:
        """How our templates and mappings are marked."""
        return {"managed_by": _OWNER, "version": self.version}

    @property
    def priority(self) -> int:
        """Of the template.

        Of two prefixes one may begin with the other, and templates that overlap must differ in
        rank: the longer name is the more specific one.
        """
        return _LOWEST_PRIORITY + len(self.alias)

    def generation(self, name: str) -> int | None:
        """Which one in the row of roll-overs an index of that name is; None: it is in none."""
        number = name.removeprefix(f"{self.alias}-")
        is_one = self.rolls_over and number != name and number.isascii() and number.isdecimal()
        return int(number) if is_one else None

    def is_made_for(self, name: str) -> bool:
        """Whether an index of that name can only be for this alias."""
        return name == self.index or self.generation(name) is not None

    @property
    def mapping(self) -> dict[str, Any]:
        """The mapping of a new index."""
        return mappings.mapping(self.fields, self.meta)


def specs(names: IndexNames, *, archive_policy: str | None = None) -> tuple[IndexSpec, ...]:
    """Everything that `setup` makes, in that order.

    Args:
        names: of what is made.
        archive_policy: the lifecycle policy of the archive, or None.
    """
    return (
        IndexSpec(
            alias=names.tasks_alias,
            index=names.tasks_index,
            # No wildcard: of two prefixes one may begin with the other.
            patterns=(names.tasks_index,),
            version=mappings.TASKS_VERSION,
            fields=mappings.TASKS,
        ),
        IndexSpec(
            alias=names.recurring_alias,
            index=names.recurring_index,
            patterns=(names.recurring_index,),
            version=mappings.RECURRING_VERSION,
            fields=mappings.RECURRING,
            # The numbers that changes are followed by are in order within one shard only.
            shards=1,
        ),
        IndexSpec(
            alias=names.processes_alias,
            index=names.processes_index,
            patterns=(names.processes_index,),
            version=mappings.PROCESSES_VERSION,
            fields=mappings.PROCESSES,
        ),
        IndexSpec(
            alias=names.leader_alias,
            index=names.leader_index,
            patterns=(names.leader_index,),
            version=mappings.LEADER_VERSION,
            fields=mappings.LEADER,
        ),
        _archive(names, archive_policy),
    )


def _archive(names: IndexNames, policy: str | None) -> IndexSpec:
    settings = {}
    if policy is not None:
        settings = {"lifecycle.name": policy, "lifecycle.rollover_alias": names.archive_alias}
    return IndexSpec(
        alias=names.archive_alias,
        index=names.archive_index,
        patterns=(f"{names.archive_alias}-*",),
        version=mappings.TASKS_VERSION,
        fields=mappings.TASKS,
        rolls_over=True,
        settings=settings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """What the operator decides about indices.

    Attributes:
        shards: primary shards; fixed when an index is made.
        replicas: copies of each shard.
        refresh_interval: how old a search may be. Always written, because without a value
            Elasticsearch stops refreshing an index that nobody searched for a while.
    """

    shards: int
    replicas: int
    refresh_interval: timedelta

    @property
    def dynamic(self) -> dict[str, str]:
        """The settings that an existing index takes, as Elasticsearch shows them flat."""
        return {
            "number_of_replicas": str(self.replicas),
            "refresh_interval": f"{self.refresh_interval // _MILLISECOND}ms",
        }

    @property
    def all(self) -> dict[str, str]:
        """The settings of a new index, as Elasticsearch shows them flat."""
        return {"number_of_shards": str(self.shards), **self.dynamic}


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A concrete index as Elasticsearch describes it; settings are flat, without `index.`."""

    name: str
    aliases: Mapping[str, Mapping[str, Any]]
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def meta(self) -> Mapping[str, object]:
        """What its mapping is marked with."""
        meta: Mapping[str, object] = self.mapping.get("_meta", {})
        return meta

    @property
    def version(self) -> int:
        """The version of its mapping; 0 if we did not make it."""
        return managed_version(self.meta)

    @property
    def fields(self) -> mappings.Fields:
        """The mapping's `properties`."""
        fields: mappings.Fields = self.mapping.get("properties", {})
        return fields

    @property
    def is_strict(self) -> bool:
        """Whether it refuses fields that its mapping does not have."""
        return str(self.mapping.get("dynamic")) == "strict"

    @property
    def is_closed(self) -> bool:
        """Whether it can be neither read nor written."""
        return self.settings.get("verified_before_close") == "true"

    @property
    def blocks(self) -> list[str]:
        """The settings that keep it from being written."""
        found = (name for name, value in self.settings.items() if str(value) == "true")
        return [name for name in found if name in _BLOCKS]

    def changes_to(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Those of the wanted settings that it does not have."""
        changes = {
            name: value for name, value in wanted.items() if self.settings.get(name) != value
        }
        if self.settings.get("auto_expand_replicas", "false") != "false":
            changes.pop("number_of_replicas", None)  # Elasticsearch would undo it
        return changes


def managed_version(meta: object) -> int:
    """The version in a `_meta`; 0 if it is not ours."""
    if not isinstance(meta, Mapping) or meta.get("managed_by") != _OWNER:
        return 0
    version = meta.get("version")
    return version if isinstance(version, int) else 0


async def find(
    client: AsyncElasticsearch, spec: IndexSpec, *, with_fields: bool = True
) -> dict[str, StoredIndex]:
    """The indices that have the alias or one of the names of a spec.

    Without their fields the answer is small, however many indices the archive has.
    """
    privilege = f"privilege view_index_metadata on {spec.alias}*"
    index = spec.patterns[0] if spec.rolls_over else spec.index
    with explained(f"look for the index {spec.alias}", privilege=privilege):
        answer = await client.indices.get(
            index=[spec.alias, index],
            ignore_unavailable=True,
            expand_wildcards="all",
            flat_settings=True,
            filter_path=None if with_fields else _WITHOUT_FIELDS,
        )
    return {
        name: StoredIndex(
            name, found.get("aliases", {}), found.get("mappings", {}), _flat(found["settings"])
        )
        for name, found in answer.body.items()
        if spec.alias in (name, *found.get("aliases", ())) or spec.is_made_for(name)
    }


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("index."): value for name, value in settings.items()}
