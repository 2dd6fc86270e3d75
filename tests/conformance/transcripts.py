"""What was once sent to the original, and what it answered, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server says; names of headers are in lower case.

    Attributes:
        headers: of an expected answer, those that count; None means that it must not be there.
        body: decoded if it is JSON, else text, None if empty; `...` if it was not recorded.
        at: when it was said.
    """

    status: int
    headers: Mapping[str, str | None]
    body: Any
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request and what the original answered.

    Attributes:
        note: what is special about it.
        waited_s: how long nothing was sent before, so that what was stored could be found.
        set_run_at: queue, id and new `run_at` of a task that was made due in the store.
        sent_before: methods and paths of requests whose answers do not matter.
        capture_id_as: `{{...}}` of that name in later paths is the id in this answer.
    """

    number: int
    name: str
    profile: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None
    answer: Answer
    note: str = ""
    waited_s: float = 0
    set_run_at: Mapping[str, str] | None = None
    sent_before: list[tuple[str, str]] = field(default_factory=list)
    capture_id_as: str | None = None

    @property
    def title(self) -> str:
        return f"{self.number} ({self.name})"


def recorded(path: Path) -> list[Exchange]:
    """Every exchange of a file of transcripts, in order."""
    document = json.loads(path.read_text(encoding="utf-8"))
    at = datetime.fromisoformat(document["recorded_at"])
    return [_exchange(entry, at) for entry in document["transcripts"]]


def _exchange(entry: dict[str, Any], at: datetime) -> Exchange:
    answer, request = entry.pop("answer"), entry.pop("request")
    return Exchange(
        number=entry.pop("n"),
        method=request["method"],
        path=request["path"],
        headers=request.get("headers", {}),
        body=request.get("body"),
        answer=Answer(
            status=answer["status"],
            headers=answer.get("headers", {}),
            body=answer.get("body", ...),
            at=at,
        ),
        **entry,
    )
