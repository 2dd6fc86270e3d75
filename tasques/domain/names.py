"""The rules of names. Each function raises `InvalidRequestError`, which names the field.

An Elasticsearch `_id` has at most 512 bytes, and the ids built here hold a queue, a task id and
a mark of 22 characters with two separators: hence the limits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tasques.domain.errors import InvalidRequestError

MAX_QUEUE_BYTES: Final = 128
MAX_TASK_ID_BYTES: Final = 360
MAX_RECURRING_TASK_ID_BYTES: Final = 330  # its tasks are called like it, with 30 bytes more
MAX_KIND_BYTES: Final = 512
MAX_WORKER_ID_BYTES: Final = 512

_FORBIDDEN_IN_QUEUE: Final = frozenset('\\/*?"<>| ,#:%')
_FORBIDDEN_STARTS: Final = frozenset("_-+")


def queue_problems(name: str) -> tuple[str, ...]:
    """What is wrong with a queue name, each as the end of a sentence; empty if nothing is."""
    if len(name) > MAX_QUEUE_BYTES:  # hostile names must not fill the memory of short ones
        return _queue_problems.__wrapped__(name)
    return _queue_problems(name)


@lru_cache(maxsize=4096)
def _queue_problems(name: str) -> tuple[str, ...]:
    problems = []
    if not name:
        return ("must not be empty",)
    if forbidden := sorted(_FORBIDDEN_IN_QUEUE.intersection(name)):
        problems.append(f"must not contain {' '.join(repr(found) for found in forbidden)}")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):
        problems.append("must not contain control characters")
    if name[0] in _FORBIDDEN_STARTS:
        problems.append("must not start with '_', '-' or '+'")
    if name in {".", ".."}:
        problems.append("must not be '.' or '..'")
    if name != name.lower():
        problems.append("must be in lower case")
    return (*problems, *_text_problems(name, MAX_QUEUE_BYTES))


def check_queue(name: str, field: str = "queue") -> str:
    """Return the queue name if it is one."""
    if problems := queue_problems(name):
        raise InvalidRequestError(*(f"{field}: {problem}" for problem in problems))
    return name


def check_task_id(task_id: str, field: str = "id") -> str:
    """Return the task id if it is one."""
    if task_id in {".", ".."}:
        # Clients fold these path segments away, so the task could never be asked for.
        raise InvalidRequestError(f"{field}: must not be '.' or '..'")
    return _check_text(task_id, field, MAX_TASK_ID_BYTES)


def check_recurring_task_id(recurring_task_id: str, field: str = "id") -> str:
    """Return the id of a recurring task if it is one."""
    if recurring_task_id in {".", ".."}:
        raise InvalidRequestError(f"{field}: must not be '.' or '..'")
    return _check_text(recurring_task_id, field, MAX_RECURRING_TASK_ID_BYTES)


def check_kind(kind: str, field: str = "kind") -> str:
    """Return the kind if it is one."""
    return _check_text(kind, field, MAX_KIND_BYTES)


def check_worker_id(worker_id: str, field: str) -> str:
    """Return the worker id if it is one."""
    return _check_text(worker_id, field, MAX_WORKER_ID_BYTES)


def _check_text(text: str, field: str, max_bytes: int) -> str:
    if not text:
        raise InvalidRequestError(f"{field}: must not be empty")
    if problems := _text_problems(text, max_bytes):
        raise InvalidRequestError(*(f"{field}: {problem}" for problem in problems))
    return text


def _text_problems(text: str, max_bytes: int) -> tuple[str, ...]:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return ("must be valid Unicode",)
    if size > max_bytes:
        return (f"must not have more than {max_bytes} bytes, has {size}",)
    return ()
