"""Request bodies: read within a limit, parsed exactly, and bounded in depth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import isinf
from typing import Any, Final

import orjson
from pydantic_core import from_json, to_json
from starlette.types import Message, Receive, Scope

from tasques.api.connection import ClientGoneError
from tasques.api.headers import find_header
from tasques.domain.errors import InvalidRequestError, TooLargeError
from tasques.domain.task import JsonText

MAX_DEPTH: Final = 150
"""How deeply objects and arrays may be nested inside one member of a body."""

_Container = dict[str, Any] | list[Any]
_CONTAINERS: Final = (dict, list)
_TOKEN: Final = re.compile(rb'"((?:[^"\\]++|\\.)*+)"|[\[{\]}]')
_LONGEST_TO_EXPLAIN: Final = 256 * 1024
_LONGEST_NAME: Final = 40


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the whole body.

    Raises:
        TooLargeError: it has more than `limit` bytes; the rest is left unread.
        ClientGoneError: it will never be complete.
    """
    length = find_header(scope["headers"], b"content-length")
    if length is not None and int(length) > limit:
        raise _too_large(limit)
    message = await receive()
    if not message.get("more_body", False) and message["type"] == "http.request":
        chunk: bytes = message.get("body", b"")
        if len(chunk) > limit:
            raise _too_large(limit)
        return chunk
    return await _read_rest(message, receive, limit)


async def _read_rest(message: Message, receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def parse_object(body: bytes, *, levels_above: int = 0) -> dict[str, Any]:
    """The JSON object that the body is; `null` counts as an empty one.

    Integers are exact whatever their size, and of two members of one name the last one wins.

    Args:
        body: as it was sent.
        levels_above: how many levels of nesting the members have because of what they hold.

    Raises:
        InvalidRequestError: it is none, or nested too deeply.
    """
    if not body:
        raise InvalidRequestError("The body is empty; it must be a JSON object.")
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise _too_deep([_deep_member(body)]) from error
        raise InvalidRequestError(f"The body is not JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(value, MAX_DEPTH + levels_above)
    return value


def to_json_text(value: dict[str, Any]) -> JsonText:
    """Write an object as one line.

    Raises:
        ValueError: a number in it is too large to be kept.
    """
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:  # it takes no integers beyond 64 bits
        text = to_json(value, inf_nan_mode="null")
    if b"null" in text and _has_infinity(value):
        raise ValueError("must not have numbers beyond ±1.8e308")
    return JsonText(text.decode())


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The body must not have more than {limit} bytes.")


def _too_deep(members: Iterable[str]) -> InvalidRequestError:
    return InvalidRequestError(
        *(f"{member}: must not be nested deeper than {MAX_DEPTH} levels" for member in members)
    )


def _check_depth(members: dict[str, Any], limit: int) -> None:
    deep = [
        _shown(name) for name, value in members.items() if sum(1 for _ in _levels(value)) > limit
    ]
    if deep:
        raise _too_deep(deep)


def _levels(value: Any) -> Iterator[list[_Container]]:
    """The objects and arrays in `value`, level by level; itself first, if it is one."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    while level:
        yield level
        level = [
            child
            for parent in level
            for child in _children(parent)
            if isinstance(child, _CONTAINERS)
        ]


def _children(container: _Container) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _has_infinity(value: Any) -> bool:
    return any(
        isinstance(child, float) and isinf(child)
        for level in _levels(value)
        for parent in level
        for child in _children(parent)
    )


def _deep_member(body: bytes) -> str:
    """The name of the member in which the nesting goes too deep."""
    depth = 0
    name = b""
    for token in _TOKEN.finditer(body, 0, _LONGEST_TO_EXPLAIN):
        text = token[0]
        if text in b"{[":
            depth += 1
            if depth > MAX_DEPTH + 1:
                break
        elif text in b"}]":
            depth -= 1
        elif depth == 1:
            name = token[1]
    return _shown(name.decode(errors="replace")) if name else "The body"


def _shown(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
