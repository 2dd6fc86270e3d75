"""YAML, read so that the text of a scalar is not lost.

`password: 0123` means the four digits and `json: Yes` whatever the setting makes of it, the same
as in the environment. So scalars without quotes that YAML takes for numbers, booleans or dates
stay text, and remember what YAML makes of them for those who want it (`plain_value`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

_TAG: Final = "tag:yaml.org,2002:"
_QUOTED: Final = re.compile(r"(['\"]).*\1", re.DOTALL)


class YamlError(ValueError):
    """The text is no YAML; the message tells where and shows nothing of it."""


class Plain(str):
    """The text of a scalar without quotes, and the value that YAML gives it."""

    __slots__ = ("value",)
    value: object


class _Loader(yaml.SafeLoader):
    """Keeps the text of plain scalars, and refuses a key that is there twice."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[Hashable, Any]]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(f"has a key{_place(key.start_mark)} that is no text")
        if key.value in seen:
            raise YamlError(f"has a key twice{_place(key.start_mark)}")
        seen.add(key.value)
    yield from loader.construct_yaml_map(node)


def _construct_plain(loader: _Loader, node: yaml.ScalarNode) -> Plain:
    plain = Plain(node.value)
    plain.value = yaml.SafeLoader.yaml_constructors[node.tag](loader, node)
    return plain


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(_TAG + _kind, _construct_plain)
_Loader.add_constructor(_TAG + "map", _construct_mapping)
_Loader.add_constructor(_TAG + "timestamp", _construct_text)


def read_yaml(text: str | bytes) -> object:
    """Read one document.

    Raises:
        YamlError: it is no YAML, has a key twice, or a key that is no text.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that keeps texts
    except yaml.MarkedYAMLError as error:
        where = _place(error.problem_mark or error.context_mark)
        problem = _QUOTED.sub("...", error.problem or "it can not be read")
        raise YamlError(
            f"is no valid YAML{where}: {problem}; quote texts that hold signs of YAML"
        ) from None
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError):
        raise YamlError("is no valid YAML: it holds characters or values that YAML lacks") from None


def _place(mark: yaml.Mark | None) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


def plain_value(value: object) -> object:
    """Give all scalars in a value read by `read_yaml` the type that YAML gives them."""
    match value:
        case Plain():
            return value.value
        case dict():
            return {str(key): plain_value(item) for key, item in value.items()}
        case list():
            return [plain_value(item) for item in value]
        case _:
            return value
