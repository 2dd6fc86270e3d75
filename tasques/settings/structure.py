"""The key tree of the settings, as their model has it, and the variable of each key."""

from __future__ import annotations

from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Final, get_args

from pydantic import SecretStr

from tasques.settings.model import Section, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo
    from typing_extensions import TypeIs

Path = tuple[str, ...]
ROOT: Final = ("tasques", "server")
PREFIX: Final = "TASQUES_SERVER_"


def dotted(path: Path) -> str:
    """The full name of the key at a path below the root."""
    return ".".join((*ROOT, *path))


def variable_of(path: Path) -> str:
    """The environment variable of the key at a path below the root."""
    return PREFIX + "_".join(path).upper()


def section_of(field: FieldInfo, *, in_lists: bool = False) -> type[Section] | None:
    """The section that a field holds (or, if asked for, a list of which), if any."""
    parts = _parts(field.annotation) if in_lists else _alternatives(field.annotation)
    return next(filter(_is_section, parts), None)


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting is, or holds, a secret."""
    return any(
        part is SecretStr or (_is_section(part) and any(map(is_secret, part.model_fields.values())))
        for part in _parts(field.annotation)
    )


def _is_section(part: object) -> TypeIs[type[Section]]:
    return isinstance(part, type) and issubclass(part, Section)


def _alternatives(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def fields(
    section: type[Section] = ServerSettings, path: Path = ()
) -> Iterator[tuple[Path, FieldInfo]]:
    """All keys, blocks before what is in them."""
    for name, field in section.model_fields.items():
        here = (*path, name)
        yield here, field
        inner = section_of(field)
        if inner is not None:
            yield from fields(inner, here)


def nearest(path: Path, siblings: list[str]) -> str:
    """What an unknown key was probably meant to be, as the end of a sentence.

    That is a key of about that name in the same block, or one of just that name elsewhere.
    """
    close = get_close_matches(path[-1].lower(), siblings, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    elsewhere = [dotted(key) for key, _ in fields() if key[-1] == path[-1]]
    return f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else ""
