"""Keys of the original Tasques that mean nothing here, or go by another name.

A file made for it starts this server too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tasques.settings.structure import dotted, variable_of
from tasques.settings.values import parse_flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasques.settings.structure import Path

_NO_SCROLL: Final = "nothing is scrolled any more"
_NO_SECOND_LOOK: Final = "every look at recurring tasks finds all changes"
_NO_ROUNDS: Final = "claims wait without searching in rounds"
_NO_TRACKER: Final = "queues are not tracked: refreshes happen on demand"

RETIRED: Final[Mapping[Path, str]] = {
    ("tasks", "queues"): _NO_TRACKER,
    ("tasks", "defaults", "block_for_retry_min_wait"): _NO_ROUNDS,
    ("tasks", "defaults", "block_for_retry_max_retries"): _NO_ROUNDS,
    ("tasks", "defaults", "claim_amount_search_multiplier"): _NO_ROUNDS,
    ("recurring", "timed_out_tasks_reaper", "scroll_size"): _NO_SCROLL,
    ("recurring", "timed_out_tasks_reaper", "scroll_ttl"): _NO_SCROLL,
    ("recurring", "tasks_archiver", "scroll_size"): _NO_SCROLL,
    ("recurring", "tasks_archiver", "scroll_ttl"): _NO_SCROLL,
    ("recurring", "recurring_tasks", "enforce_sync_run_interval"): _NO_SECOND_LOOK,
    ("recurring", "recurring_tasks", "scroll_size"): _NO_SCROLL,
    ("recurring", "recurring_tasks", "scroll_ttl"): _NO_SCROLL,
}
LOGGING_JSON: Final = ("logging", "json")
LOGGING_FORMAT: Final = ("logging", "format")


def drop_retired(tree: dict[str, Any]) -> Iterator[str]:
    """Take retired keys out of a file's tree; yield a warning for each that is set."""
    for path, reason in RETIRED.items():
        block: Any = tree
        for name in path[:-1]:
            block = block.get(name) if isinstance(block, dict) else None
        if isinstance(block, dict) and block.pop(path[-1], None) is not None:
            yield f"{dotted(path)} has no effect: {reason}"


def is_retired(variable: str) -> bool:
    """Whether an environment variable belongs to a retired key or block."""
    names = map(variable_of, RETIRED)
    return any(variable == name or variable.startswith(f"{name}_") for name in names)


def retired_variables(environ: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each environment variable of a retired key."""
    for variable in sorted(environ):
        if is_retired(variable):
            yield f"{variable} has no effect: it belongs to a retired setting"


def adopt_json(block: dict[str, Any], old: str, new: str) -> None:
    """Turn the original's `logging.json` into `logging.format`.

    Raises:
        ValueError: it is neither true nor false, or both are given.
    """
    value = block.pop(old, None)
    if value is None:
        return
    if block.get(new) is not None:
        raise ValueError(f"is the older form of {new}: give only one of them")
    block[new] = "json" if parse_flag(value) else "text"
