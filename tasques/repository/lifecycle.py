"""What Elasticsearch does with the archive's indices as they grow and age (ILM)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from elasticsearch import AsyncElasticsearch, NotFoundError

from tasques.repository.indices import IndexNames
from tasques.repository.setup_errors import explained

_WARM_AFTER: Final = "7d"  # after the roll-over


@dataclass(frozen=True, slots=True)
class LifecyclePolicy:
    """A policy: its name, and what Elasticsearch calls `policy`, which it gets as it is."""

    name: str
    policy: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloverConditions:
    """When the archive goes on in a new index, in units of Elasticsearch; any is enough."""

    max_age: str
    max_primary_shard_size: str
    max_docs: int | None = None

    @property
    def members(self) -> dict[str, str | int]:
        """The conditions as Elasticsearch wants them."""
        members: dict[str, str | int] = {
            "max_age": self.max_age,
            "max_primary_shard_size": self.max_primary_shard_size,
        }
        if self.max_docs is not None:
            members["max_docs"] = self.max_docs
        return members


def default_policy(names: IndexNames, conditions: RolloverConditions) -> LifecyclePolicy:
    """Roll over, later make read-only and compact; nothing is ever deleted.

    Only actions that every version from 8 on has.
    """
    return LifecyclePolicy(
        names.archive_alias,
        {
            "phases": {
                "hot": {"min_age": "0ms", "actions": {"rollover": conditions.members}},
                "warm": {
                    "min_age": _WARM_AFTER,
                    "actions": {"readonly": {}, "forcemerge": {"max_num_segments": 1}},
                },
            }
        },
    )


async def stored_version(client: AsyncElasticsearch, name: str) -> int | None:
    """How often the policy of that name was changed, or None if there is none.

    Raises:
        SetupError, StoreUnavailableError: Elasticsearch does not tell.
    """
    with explained(f"read the lifecycle policy {name}", privilege="cluster privilege read_ilm"):
        try:
            answer = await client.ilm.get_lifecycle(name=name)
        except NotFoundError:
            return None
    version: int = answer[name]["version"]
    return version


async def put(client: AsyncElasticsearch, policy: LifecyclePolicy) -> None:
    """Store a policy; Elasticsearch leaves one alone that is the same already.

    Raises:
        SetupError, StoreUnavailableError: Elasticsearch did not take it.
    """
    action = f"write the lifecycle policy {policy.name}"
    with explained(action, privilege="cluster privilege manage_ilm"):
        await client.ilm.put_lifecycle(name=policy.name, policy=dict(policy.policy))
