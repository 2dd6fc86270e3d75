"""Defaults, then a file, then the environment: the settings of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasques.settings.addresses import split_credentials
from tasques.settings.environment import Overlay, misspelt
from tasques.settings.errors import Problem, SettingsError
from tasques.settings.files import DEFAULT_LOCATIONS, find, server_tree
from tasques.settings.legacy import LOGGING_JSON, adopt_json, drop_retired, retired_variables
from tasques.settings.model import ServerSettings
from tasques.settings.structure import dotted
from tasques.settings.validation import validate
from tasques.settings.values import comma_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasques.settings import structure


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, and where they came from.

    Attributes:
        settings: the settings.
        source: the file that was read; none if there was no file.
        warnings: a sentence for each setting that was given but has no effect.
    """

    settings: ServerSettings
    source: Path | None
    warnings: tuple[str, ...]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    search: Sequence[Path] = DEFAULT_LOCATIONS,
) -> LoadedSettings:
    """Load the settings.

    Args:
        path: the file; if none is given, the first `tasques.yaml` in `search` is taken, and it is
            no error if there is none.
        environ: the environment variables, which have priority over the file.
        search: folders to look in.

    Raises:
        SettingsError: something is wrong; it lists all mistakes.
    """
    found = find(path, search)
    tree, problems = server_tree(*found) if found else ({}, [])
    warnings = [*drop_retired(tree), *retired_variables(environ)]
    problems += _adopt_json_of_file(tree)
    overlay = Overlay(environ)
    merged = overlay.apply(tree)
    _lift_credentials(merged, overlay.origins)
    settings, mistakes = validate(merged, overlay.origins)
    problems += [*overlay.problems, *mistakes, *misspelt(environ)]
    source = found[0] if found else None
    if settings is None or problems:
        raise SettingsError(problems, source)
    return LoadedSettings(settings, source, tuple(warnings))


def _adopt_json_of_file(tree: dict[str, Any]) -> list[Problem]:
    logging = tree.get("logging")
    if isinstance(logging, dict):
        try:
            adopt_json(logging, "json", "format")
        except ValueError as error:
            return [Problem(dotted(LOGGING_JSON), str(error))]
    return []


def _lift_credentials(tree: dict[str, Any], origins: dict[structure.Path, str]) -> None:
    """Make percent-encoded credentials in the addresses the user.

    Only where that is unambiguous; the check of the addresses refuses the rest.
    """
    elasticsearch = tree.get("elasticsearch")
    if not isinstance(elasticsearch, dict) or "user" in elasticsearch:
        return
    addresses = comma_list(elasticsearch.get("addresses"))
    if not isinstance(addresses, list) or not all(isinstance(item, str) for item in addresses):
        return
    try:
        parts = [split_credentials(address) for address in addresses]
    except ValueError:
        return
    users = {user for _, user in parts if user}
    if len(users) == 1:
        (user,) = users
        elasticsearch["addresses"] = [address for address, _ in parts]
        elasticsearch["user"] = {"name": user.name, "password": user.password}
        variable = origins.get(("elasticsearch", "addresses"))
        if variable:
            origins["elasticsearch", "user"] = variable
