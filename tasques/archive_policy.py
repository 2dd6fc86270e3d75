"""How the archive's indices come and go, from settings."""

from __future__ import annotations

from tasques.repository.indices import IndexNames
from tasques.repository.lifecycle import LifecyclePolicy, RolloverConditions, default_policy
from tasques.settings import ServerSettings


def archive_policy(settings: ServerSettings, names: IndexNames) -> LifecyclePolicy | None:
    """The policy of the archive's indices that set-up installs; None if it should not."""
    lifecycle = settings.lifecycle_setup.archived_tasks
    if not lifecycle.enabled:
        return None
    if (custom := lifecycle.custom_policy) is not None:
        return LifecyclePolicy(custom.name, custom.policy)
    return default_policy(names, rollover_conditions(settings))


def rollover_conditions(settings: ServerSettings) -> RolloverConditions:
    """When the archive goes on in a new index."""
    rollover = settings.lifecycle_setup.archived_tasks.rollover
    return RolloverConditions(
        max_age=rollover.max_age,
        max_primary_shard_size=rollover.max_primary_shard_size,
        max_docs=rollover.max_docs,
    )
