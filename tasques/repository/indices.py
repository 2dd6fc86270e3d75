"""The indices that Tasques keeps: their names, what they should be, what is found of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from elasticsearch import AsyncElasticsearch

from tasques.repository import mappings
from tasques.repository.setup_errors import SetupError, explained

_MILLISECOND: Final = timedelta(milliseconds=1)
_OWNER: Final = "tasques"


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
    """

    alias: str
    index: str
    patterns: tuple[str, ...]
    version: int
    fields: mappings.Fields

    @property
    def meta(self) -> dict[str, object]:
        """How our templates and mappings are marked."""
        return {"managed_by": _OWNER, "version": self.version}

    @property
    def mapping(self) -> dict[str, Any]:
        """The mapping of a new index."""
        return mappings.mapping(self.fields, self.meta)


def specs(names: IndexNames) -> tuple[IndexSpec, ...]:
    """Everything that `setup` makes, in that order."""
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
        """The settings that an existing index takes, as Elasticsearch shows them."""
        return {
            "number_of_replicas": str(self.replicas),
            "refresh_interval": f"{self.refresh_interval // _MILLISECOND}ms",
        }

    @property
    def all(self) -> dict[str, str]:
        """The settings of a new index, as Elasticsearch shows them."""
        return {"number_of_shards": str(self.shards), **self.dynamic}


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A concrete index as Elasticsearch describes it."""

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


async def find(client: AsyncElasticsearch, spec: IndexSpec) -> dict[str, StoredIndex]:
    """The indices that have the alias or one of the names of a spec."""
    privilege = f"privilege view_index_metadata on {spec.alias}*"
    with explained(f"look for the index {spec.alias}", privilege=privilege):
        answer = await client.indices.get(
            index=[spec.alias, spec.index], ignore_unavailable=True, expand_wildcards="all"
        )
    return {
        name: StoredIndex(
            name, found["aliases"], found["mappings"], found["settings"].get("index", {})
        )
        for name, found in answer.body.items()
    }


def holders(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> list[StoredIndex]:
    """The indices that have the alias."""
    return [index for index in found.values() if spec.alias in index.aliases]


def choose(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> StoredIndex | None:
    """Which index the alias should point to; none means that it has to be made.

    An index of ours that has the alias keeps it, whatever it is called: somebody may have copied
    the documents into it, or a newer Tasques may have made it.

    Raises:
        SetupError: the alias can not exist.
    """
    if spec.alias in found:
        raise SetupError(
            f"There is an index named {spec.alias}, but that name has to be an alias. Copy what "
            "is worth keeping to an index of another name, delete it, and run the set-up again."
        )
    ours = [i for i in holders(spec, found) if i.version or i.name == spec.index]
    if ours:
        return max(ours, key=lambda index: (index.version, index.name == spec.index))
    return found.get(spec.index)


def alias_problem(
    spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
) -> str | None:
    """What is wrong with the alias, as a sentence, given where it should point to."""
    holding = [index.name for index in holders(spec, found)]
    if not holding:
        return f"The alias {spec.alias} is missing."
    if holding != [current.name]:
        names = " and ".join(sorted(holding))
        return f"The alias {spec.alias} points to {names} instead of {current.name} alone."
    if dict(current.aliases[spec.alias]) != {"is_write_index": True}:
        return f"The alias {spec.alias} is not a plain write alias of {current.name}."
    return None
