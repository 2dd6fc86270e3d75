"""Tells how an answer differs from the one that is expected.

Never compared is what no two runs have in common: instants that a server takes from its clock
(they must be instants), ids that it makes up, counters of Elasticsearch. Instants are compared as
instants, however they are written. Of an error only status and shape count, as its words are
nobody's contract; where the original's has no body, ours may have one of that shape. Of a
redirect, status and target count; of `WWW-Authenticate`, the scheme. Members that only we have may
be there, and so may headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from conformance.transcripts import Answer

CLOCK_READINGS = {
    "at",
    "claimed_at",
    "created_at",
    "last_enqueued_at",
    "loaded_at",
    "modified_at",
    "times_out_at",
}
COUNTERS = {"primary_term", "seq_num"}
FREE_FORM = {"args", "context", "data", "failure", "success"}
ADDED = {
    "claim_id",
    "last_fired_at",
    "last_task_id",
    "misfire_policy",
    "next_fire_at",
    "paused",
    "time_zone",
    "traceparent",
}
ADDED_TO_ERRORS = {"code"}

_MADE_UP_ID = re.compile("[0-9a-f]{32}")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*(Z|[+-]\d\d:\d\d)")
_A_DAY = timedelta(days=1)


def differences(expected: Answer, found: Answer) -> list[str]:
    """How an answer differs from the expected one, a phrase each."""
    if expected.status != found.status:
        return [f"status {expected.status} -> {found.status} {_shown(found.body)}"]
    if expected.status in {301, 307}:
        return _header_differences(expected, found, ["location"])
    headers = _header_differences(expected, found, expected.headers)
    return headers + _body_differences(expected, found)


def _header_differences(expected: Answer, found: Answer, names: Iterable[str]) -> list[str]:
    pairs = [(name, expected.headers.get(name), found.headers.get(name)) for name in names]
    return [
        f"{name} {old!r} -> {new!r}"
        for name, old, new in pairs
        if _significant(name, old) != _significant(name, new)
    ]


def _significant(name: str, value: str | None) -> str | None:
    """The part of a header that has to be the same."""
    if value is None or name not in {"content-type", "www-authenticate"}:
        return value
    return re.split("[; ]", value)[0].lower()


def _body_differences(expected: Answer, found: Answer) -> list[str]:
    if expected.body is ...:
        return []
    if expected.status >= 400:
        is_good = is_error(found.body) or expected.body is found.body is None
        return [] if is_good else [f"not an error's body: {_shown(found.body)}"]
    old, new = masked(expected.body, expected.at), masked(found.body, found.at)
    return [] if _shown(old) == _shown(new) else [f"body\n    {_shown(old)}\n -> {_shown(new)}"]


def is_error(body: Any) -> bool:
    """Whether a body is one that clients understand as an error's."""
    return (
        isinstance(body, dict)
        and body.keys() - ADDED_TO_ERRORS == {"message"}
        and all(isinstance(value, str) and value for value in body.values())
    )


def masked(value: Any, now: datetime, name: str | None = None) -> Any:
    """A value of an answer without what is different in every run.

    Args:
        value: decoded JSON.
        now: when the answer was given.
        name: of the member that the value is.
    """
    if name in FREE_FORM:
        return value
    if isinstance(value, dict):
        return {key: masked(each, now, key) for key, each in value.items() if key not in ADDED}
    if isinstance(value, list):
        return [masked(each, now) for each in value]
    if name in COUNTERS and type(value) is int:
        return "<a counter>"
    return _masked_text(value, now, name) if isinstance(value, str) else value


def _masked_text(text: str, now: datetime, name: str | None) -> str:
    if name == "id":
        return "<made up>" if _MADE_UP_ID.fullmatch(text) else text
    if name not in {*CLOCK_READINGS, "run_at"} or not (match := _INSTANT.fullmatch(text)):
        return text
    instant = datetime.fromisoformat(match[1] + match[2])
    # Who gives a `run_at` in a transcript gives one that is years away.
    if name in CLOCK_READINGS or abs(instant - now) < _A_DAY:
        return "<now or soon>"
    return instant.astimezone(UTC).isoformat()


def _shown(value: Any) -> str:
    """As JSON, where 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr)
