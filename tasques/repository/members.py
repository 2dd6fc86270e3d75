"""Reading the members of a stored document; one that is wrong is told by its name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from tasques.domain.task import NOTHING_UNKNOWN

Kind = TypeVar("Kind")
Source = Mapping[str, Any]


class WrongMemberError(Exception):
    """A member is missing, or not of its kind."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"{name!r} can not be {value!r:.100}")


def unknown_members(source: Source, known: frozenset[str]) -> Source:
    """What a newer version put in."""
    if source.keys() <= known:
        return NOTHING_UNKNOWN
    return {name: source[name] for name in source.keys() - known}


def member(kind: type[Kind], source: Source, name: str) -> Kind:
    """A member that has to be there."""
    value = source.get(name)
    if type(value) is not kind:  # a boolean is no integer
        raise WrongMemberError(name, value)
    return value


def optional_member(kind: type[Kind], source: Source, name: str) -> Kind | None:
    """A member that may be missing."""
    value = source.get(name)
    if value is not None and type(value) is not kind:
        raise WrongMemberError(name, value)
    return value


def instant(source: Source, name: str) -> datetime:
    """A member that tells when; without an offset it could mean anything."""
    value = source.get(name)
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type] # that is what is tried
    except (TypeError, ValueError):
        raise WrongMemberError(name, value) from None
    if at.tzinfo is None:
        raise WrongMemberError(name, value)
    return at


def optional_instant(source: Source, name: str) -> datetime | None:
    """An instant that may be missing."""
    return None if source.get(name) is None else instant(source, name)
