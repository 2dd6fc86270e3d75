"""Finding the settings file and reading what it has below `tasques.server`."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasques.settings.errors import Problem, SettingsError
from tasques.settings.structure import ROOT
from tasques.settings.yaml_reader import YamlError, read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LOCATIONS: Final = (Path(), Path("config"), Path("/app/config"))
_FILE_NAMES: Final = ("tasques.yaml", "tasques.yml")


def find(path: Path | None, search: Sequence[Path]) -> tuple[Path, bytes] | None:
    """Read the file at a path, or without one the first of the usual name in some folders.

    Raises:
        SettingsError: there is such a file, or should be, but it can not be read.
    """
    if path is not None:
        return path, _read(path)
    for candidate in (folder / name for folder in search for name in _FILE_NAMES):
        try:
            return candidate, candidate.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unreadable(candidate, error) from None
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError([Problem(str(path), f"can not be read: {error.strerror}")])


def server_tree(source: Path, text: bytes) -> tuple[dict[str, Any], list[Problem]]:
    """The block below `tasques.server`, and what is wrong around it.

    Raises:
        SettingsError: the file is no YAML.
    """
    try:
        tree = read_yaml(text)
    except YamlError as error:
        raise SettingsError([Problem(str(source), str(error))], source) from None
    problems: list[Problem] = []
    for depth, name in enumerate(ROOT):
        block = _block(tree, ROOT[:depth], problems)
        problems += [_stranger(other, depth) for other in block if other != name]
        tree = block.get(name)
    return _block(tree, ROOT, problems), problems


def _block(tree: object, path: tuple[str, ...], problems: list[Problem]) -> dict[str, Any]:
    if isinstance(tree, dict):
        return tree
    if tree is not None:
        problems.append(Problem(".".join(path) or "the file", "must be a block of keys"))
    return {}


def _stranger(name: str, depth: int) -> Problem:
    known = ROOT[depth]
    close = get_close_matches(name.lower(), [known])
    hint = f"did you mean {known}?" if close else f"all settings are below {'.'.join(ROOT)}"
    return Problem(".".join((*ROOT[:depth], name)), f"is no setting; {hint}")
