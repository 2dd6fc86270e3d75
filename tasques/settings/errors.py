"""What is wrong with the settings, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One fault; its text never shows a secret."""

    key: str
    reason: str
    variable: str | None = None

    def __str__(self) -> str:
        where = f"{self.key} ({self.variable})" if self.variable else self.key
        return f"{where}: {self.reason}"


class SettingsError(Exception):
    """The settings can not be used; the text lists every fault with its key.

    Attributes:
        problems: the faults.
        source: the file that was read, if any.
    """

    def __init__(self, problems: Sequence[Problem], source: Path | None = None) -> None:
        self.problems = tuple(problems)
        self.source = source
        read = f"{source} and the environment" if source else "the environment"
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{count} in the settings from {read}:{lines}")
