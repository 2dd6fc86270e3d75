"""Where another answer than the original's is right, and why: the list and its reading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from conformance.transcripts import Answer

LIST = Path(__file__).with_name("intended_differences.yaml")


@dataclass(frozen=True, kw_only=True)
class Intended:
    """One intended difference.

    Attributes:
        exchanges: numbers of the exchanges.
        reason: begins with the defect (`D5`) or the line of the contract that it follows from.
        status: ours.
        body: ours, if it is not an error; `...` if it is the original's.
        headers: ours (None: none); those that are not here are the original's.
        give_back: whether what it claims is unclaimed again, so that the difference ends there.
    """

    exchanges: list[int]
    reason: str
    status: int | None = None
    body: Any = ...
    headers: dict[str, str | None] | None = None
    give_back: bool = False

    def instead_of(self, answer: Answer) -> Answer:
        """What we answer where the original gave this answer."""
        return replace(
            answer,
            status=answer.status if self.status is None else self.status,
            body=answer.body if self.body is ... else self.body,
            headers={**answer.headers, **(self.headers or {})},
        )


def intended_differences() -> list[Intended]:
    """The whole list."""
    return [Intended(**entry) for entry in yaml.safe_load(LIST.read_text(encoding="utf-8"))]
