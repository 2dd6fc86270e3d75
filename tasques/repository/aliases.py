"""Which index an alias should write to, and what has to be done about it: pure functions.

An alias is on one index alone; that of the archive is on all that roll-overs have made, of which
the newest one is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tasques.repository.indices import IndexSpec, StoredIndex
from tasques.repository.setup_errors import SetupError

_PLAIN: Final = {"is_write_index": True}


def holders(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> list[StoredIndex]:
    """The indices that have the alias."""
    return [index for index in found.values() if spec.alias in index.aliases]


def choose(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> StoredIndex | None:
    """Which index should be written through the alias; none means that it has to be made.

    An index of ours that has the alias keeps it, whatever it is called: somebody may have copied
    the documents into it, or a newer Tasques may have made it. Of indices that roll-overs made
    the newest is chosen, with the alias or without: a roll-over to an index that is there
    already would fail for ever.

    Raises:
        SetupError: the alias can not exist.
    """
    if spec.alias in found:
        raise SetupError(
            f"There is an index named {spec.alias}, but that name has to be an alias. Copy what "
            "is worth keeping to an index of another name, delete it, and run the set-up again."
        )
    if spec.rolls_over:
        made = [index for index in found.values() if spec.generation(index.name) is not None]
        return max(made, key=lambda index: spec.generation(index.name) or 0, default=None)
    ours = [i for i in holders(spec, found) if i.version or i.name == spec.index]
    if ours:
        return max(ours, key=lambda index: (index.version, index.name == spec.index))
    return found.get(spec.index)


def alias_problem(
    spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
) -> str | None:
    """What is wrong with the alias, as a sentence, given which index should be written."""
    holding = sorted(index.name for index in holders(spec, found))
    if not holding:
        return f"The alias {spec.alias} is missing."
    if not spec.rolls_over and holding != [current.name]:
        names = " and ".join(holding)
        return f"The alias {spec.alias} points to {names} instead of {current.name} alone."
    if spec.rolls_over and (others := _written(spec, found, besides=current)):
        names = " and ".join(sorted(others))
        return f"The alias {spec.alias} writes to {names} instead of {current.name}, the newest."
    if dict(current.aliases.get(spec.alias, {})) != _PLAIN:
        return f"The alias {spec.alias} is not a plain write alias of {current.name}."
    return None


def displaced(
    spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
) -> list[StoredIndex]:
    """The indices that have to lose the alias."""
    if spec.rolls_over:
        return []
    return [index for index in holders(spec, found) if index.name != current.name]


def alias_actions(
    spec: IndexSpec, found: Mapping[str, StoredIndex], current: StoredIndex
) -> list[dict[str, Any]]:
    """What makes the alias right, to be done in one step: it is never on none or written twice."""
    actions: list[dict[str, Any]] = [
        {"remove": {"index": index.name, "alias": spec.alias}}
        for index in displaced(spec, found, current)
    ]
    if spec.rolls_over:
        readable = _written(spec, found, besides=current) | _left_out(spec, found)
        actions += [
            {"add": {"index": name, "alias": spec.alias, "is_write_index": False}}
            for name in sorted(readable - {current.name})
        ]
    return [*actions, {"add": {"index": current.name, "alias": spec.alias, **_PLAIN}}]


def _written(
    spec: IndexSpec, found: Mapping[str, StoredIndex], *, besides: StoredIndex
) -> set[str]:
    """Other indices that the alias writes to; a lone one is written unless it says no."""
    holding = holders(spec, found)
    lone = len(holding) == 1
    return {
        index.name
        for index in holding
        if index.name != besides.name and index.aliases[spec.alias].get("is_write_index", lone)
    }


def _left_out(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> set[str]:
    """Indices that a roll-over made and that lack the alias.

    Where older ones have it, somebody has taken it from those between, and that is their affair.
    """
    having = [spec.generation(index.name) or 0 for index in holders(spec, found)]
    newest = max(having, default=-1)
    return {name for name in found if (spec.generation(name) or -1) > newest}
