"""What the environment says: one variable for each key, whether or not the file has the key."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from tasques.settings.errors import Problem
from tasques.settings.legacy import LOGGING_FORMAT, LOGGING_JSON, adopt_json, is_retired
from tasques.settings.model import Section, ServerSettings
from tasques.settings.structure import (
    PREFIX,
    dotted,
    fields,
    is_secret,
    section_of,
    variable_of,
)
from tasques.settings.yaml_reader import YamlError, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

    from tasques.settings.structure import Path

_SERVICE_LINK: Final = re.compile(
    r".*_SERVICE_HOST|.*_SERVICE_PORT(_.*)?|(.*_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?"
)
"""What Kubernetes sets for every Service of the namespace, after the prefix."""
_SIMILARITY: Final = 0.85


class Overlay:
    """Lays the environment over the tree of a file.

    Attributes:
        problems: what was wrong with variables.
        origins: which variable a key's value came from.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.origins: dict[Path, str] = {}
        self._environ = dict(environ)
        old, new = variable_of(LOGGING_JSON), variable_of(LOGGING_FORMAT)
        try:
            adopt_json(self._environ, old, new)
        except ValueError as error:
            self.problems.append(Problem(dotted(LOGGING_JSON), str(error), old))

    def apply(
        self, given: dict[str, Any], section: type[Section] = ServerSettings, path: Path = ()
    ) -> dict[str, Any]:
        """The tree with what the environment sets; keys without a value are left out."""
        merged = {name: value for name, value in given.items() if value is not None}
        for name, field in section.model_fields.items():
            inner, here = section_of(field), (*path, name)
            if inner is None:
                self._set(merged, field, here)
            else:
                self._merge(merged, inner, here)
        return merged

    def _set(self, merged: dict[str, Any], field: FieldInfo, path: Path) -> None:
        variable = variable_of(path)
        text = self._environ.get(variable)
        if is_secret(field) and self._environ.get(f"{variable}_FILE"):
            if text is not None:
                reason = f"{variable} and {variable}_FILE are both set"
                self.problems.append(Problem(dotted(path), reason))
                return
            variable = f"{variable}_FILE"
            text = self._read_secret(path, variable)
        if text is not None:
            merged[path[-1]] = text
            self.origins[path] = variable

    def _read_secret(self, path: Path, variable: str) -> str | None:
        try:
            text = FilePath(self._environ[variable]).read_bytes().decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            self.problems.append(
                Problem(dotted(path), f"the file can not be read: {reason}", variable)
            )
            return None
        return re.sub(r"\r?\n\Z", "", text)

    def _merge(self, merged: dict[str, Any], section: type[Section], path: Path) -> None:
        name, variable = path[-1], variable_of(path)
        if variable in self._environ:
            merged.pop(name, None)
            block = self._read_block(path, variable)
            if block is not None:
                merged[name] = block
                self.origins[path] = variable
        given = merged.get(name, {})
        if not isinstance(given, dict):
            return  # the model says what is wrong with it
        block = self.apply(given, section, path)
        if block or name in merged:
            merged[name] = block

    def _read_block(self, path: Path, variable: str) -> object:
        """The value of a variable named like a block: an object, or nothing to remove it."""
        try:
            return read_yaml(self._environ[variable])
        except YamlError as error:
            self.problems.append(Problem(dotted(path), str(error), variable))
            return None


def misspelt(environ: Mapping[str, str]) -> Iterator[Problem]:
    """The variables that are almost the one of a key.

    Others that are no key's are none of our business: Kubernetes, for one, sets
    `TASQUES_SERVER_PORT=tcp://...` where there is a Service of that name.
    """
    known = _known_variables()
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known or is_retired(variable):
            continue
        close = get_close_matches(name, known, n=1, cutoff=_SIMILARITY)
        if close and not _SERVICE_LINK.fullmatch(name):
            yield Problem(variable, f"is no setting; did you mean {PREFIX}{close[0]}?")


def _known_variables() -> set[str]:
    known = {variable_of(LOGGING_JSON)}
    for path, field in fields():
        variable = variable_of(path)
        known.add(variable)
        if section_of(field) is None and is_secret(field):
            known.add(f"{variable}_FILE")
    return {variable.removeprefix(PREFIX) for variable in known}
