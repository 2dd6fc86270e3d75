"""Where another answer than the original's is right, and why: the list and its reading."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
        any_body: whether the body of ours is not compared.
        give_back: whether what it claims is unclaimed again, so that the difference ends there.
        sent_after: method, path and perhaps body of requests that end the difference there.
    """

    exchanges: list[int]
    reason: str
    status: int | None = None
    body: Any = ...
    headers: dict[str, str | None] | None = None
    any_body: bool = False
    give_back: bool = False
    sent_after: list[list[str]] = field(default_factory=list)

    def instead_of(self, answer: Answer) -> Answer:
        """What we answer where the original gave this answer."""
        body = answer.body if self.body is ... else self.body
        return replace(
            answer,
            status=answer.status if self.status is None else self.status,
            body=... if self.any_body else body,
            headers={**answer.headers, **(self.headers or {})},
        )


def intended_differences() -> list[Intended]:
    """The whole list."""
    return [Intended(**entry) for entry in yaml.safe_load(LIST.read_text(encoding="utf-8"))]
