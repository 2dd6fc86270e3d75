"""Rules that settings must keep towards one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasques.settings.errors import Problem
from tasques.settings.structure import dotted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tasques.settings.model import ServerSettings
    from tasques.settings.structure import Path


@dataclass(frozen=True)
class Relation:
    """A rule between keys; the first is the one to blame."""

    keys: tuple[str, ...]
    holds: Callable[[ServerSettings], bool]
    rule: str

    @property
    def paths(self) -> list[Path]:
        """The keys as paths below the root."""
        return [tuple(key.split(".")) for key in self.keys]


RELATIONS: Final = (
    Relation(
        ("recurring.leader_lock.leader_lock_lease", "recurring.leader_lock.run_interval"),
        lambda s: (
            s.recurring.leader_lock.leader_lock_lease > 2 * s.recurring.leader_lock.run_interval
        ),
        "must be more than twice recurring.leader_lock.run_interval",
    ),
    Relation(
        ("elasticsearch.request_timeout", "recurring.leader_lock.leader_lock_lease"),
        lambda s: s.elasticsearch.request_timeout <= s.recurring.leader_lock.leader_lock_lease,
        "must not be longer than recurring.leader_lock.leader_lock_lease",
    ),
    Relation(
        ("tasks.defaults.block_for", "tasks.claims.max_block_for"),
        lambda s: s.tasks.defaults.block_for <= s.tasks.claims.max_block_for,
        "must not be longer than tasks.claims.max_block_for",
    ),
    Relation(
        ("elasticsearch.write.max_batch_operations", "elasticsearch.write.max_pending_operations"),
        lambda s: (
            s.elasticsearch.write.max_batch_operations
            <= s.elasticsearch.write.max_pending_operations
        ),
        "must not be more than elasticsearch.write.max_pending_operations",
    ),
    Relation(
        ("elasticsearch.write.max_batch_bytes", "elasticsearch.write.max_pending_bytes"),
        lambda s: s.elasticsearch.write.max_batch_bytes <= s.elasticsearch.write.max_pending_bytes,
        "must not be more than elasticsearch.write.max_pending_bytes",
    ),
    Relation(
        ("max_body_size", "elasticsearch.write.max_pending_bytes"),
        lambda s: s.max_body_size <= s.elasticsearch.write.max_pending_bytes,
        "must not be more than elasticsearch.write.max_pending_bytes",
    ),
    Relation(
        ("elasticsearch.api_key", "elasticsearch.user"),
        lambda s: s.elasticsearch.api_key is None or s.elasticsearch.user is None,
        "can not be used together with elasticsearch.user",
    ),
    Relation(
        ("kibana.api_key", "kibana.user"),
        lambda s: s.kibana.api_key is None or s.kibana.user is None,
        "can not be used together with kibana.user",
    ),
)


def broken(
    settings: ServerSettings, *, besides: Collection[Path], origins: Mapping[Path, str]
) -> Iterator[Problem]:
    """The rules that do not hold.

    Args:
        settings: what to judge.
        besides: keys that are wrong already; rules about them are not judged.
        origins: the variable that a key came from.
    """
    for relation in RELATIONS:
        blamed, *_ = relation.paths
        wrong = any(path[: len(bad)] == bad for path in relation.paths for bad in besides)
        if not wrong and not relation.holds(settings):
            yield Problem(dotted(blamed), relation.rule, origins.get(blamed))
