"""From a tree to settings, or to the list of all that is wrong with it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from tasques.settings.errors import Problem
from tasques.settings.model import Section, ServerSettings
from tasques.settings.relations import broken
from tasques.settings.structure import dotted, nearest, section_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from tasques.settings.structure import Path

_REASONS: Final = {
    "missing": "is required",
    "tuple_type": "must be a list",
    "too_short": "must have at least one item",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
}
_ROUNDS: Final = 5


def validate(
    tree: dict[str, Any], origins: Mapping[Path, str]
) -> tuple[ServerSettings | None, list[Problem]]:
    """Build the settings; without problems they are there.

    Rules between keys are judged even if other keys are wrong: those get their defaults for it.
    """
    problems: list[Problem] = []
    wrong: set[Path] = set()
    rest = deepcopy(tree)
    for _ in range(_ROUNDS):
        try:
            settings = ServerSettings.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            if not wrong:
                problems += [_explain(detail, origins) for detail in details]
            for detail in details:
                wrong.add(_remove(rest, detail))
        else:
            problems += broken(settings, besides=wrong, origins=origins)
            return (None if problems else settings), problems
    return None, problems


def _explain(detail: ErrorDetails, origins: Mapping[Path, str]) -> Problem:
    location = detail["loc"]
    path = tuple(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        reason = "is no setting" + nearest(path, list(_section_at(path[:-1]).model_fields))
    elif detail["type"] == "value_error":
        reason = str(detail["ctx"]["error"])
    else:
        reason = _REASONS.get(detail["type"]) or detail["msg"].replace("Input should", "must")
    variable = next(
        (origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), None
    )
    return Problem(_key(location), reason, variable)


def _key(location: tuple[int | str, ...]) -> str:
    """The full name of a key, with `[0]` for the first item of a list."""
    key = dotted(())
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    return key


def _section_at(path: Path) -> type[Section]:
    """The section at a path, through lists of sections too."""
    section: type[Section] = ServerSettings
    for name in path:
        field = section.model_fields.get(name)
        if field is not None:
            section = section_of(field, in_lists=True) or section
    return section


def _remove(tree: dict[str, Any], detail: ErrorDetails) -> Path:
    """Take what is wrong out of the tree: the key, its list, or the block that lacks it."""
    location = detail["loc"]
    path = []
    for part in location:
        if isinstance(part, int):
            break
        path.append(part)
    if detail["type"] == "missing" and len(path) == len(location):
        path.pop()
    block: Any = tree
    for name in path[:-1]:
        block = block.get(name, {})
    block.pop(path[-1], None)
    return tuple(path)
