"""Importing saved objects into a Kibana that may still be starting."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from tasques.domain.ports import Clock
from tasques.kibana.connection import (
    Answer,
    KibanaError,
    KibanaOptions,
    NotReadyError,
    connected,
)
from tasques.kibana.saved_objects import Object, ndjson

log = logging.getLogger(__name__)

_OLDEST: Final = (8, 12)
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_LONGEST_TEXT: Final = 300  # characters of what Kibana says

T = TypeVar("T")


async def import_objects(
    objects: Sequence[Object], options: KibanaOptions, *, clock: Clock
) -> None:
    """Write objects to Kibana, over those that are there. May be repeated.

    Raises:
        KibanaError: Kibana does not answer in time, refuses, or has not imported everything.
    """
    file = ndjson(objects)
    async with connected(options) as kibana:

        async def attempt() -> Answer:
            _check_status(await kibana.status(), options)
            return await kibana.import_file(file)

        answer = await _when_ready(attempt, options, clock)
    _check_imported(answer, options)


async def _when_ready(
    attempt: Callable[[], Awaitable[T]], options: KibanaOptions, clock: Clock
) -> T:
    end = clock.monotonic() + options.start_timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except NotReadyError as error:
            left = end - clock.monotonic()
            if left <= 0:
                raise KibanaError(
                    f"Kibana at {options.address} is not ready after "
                    f"{options.start_timeout:g} s: {error}. Is it there, and kibana.address right?"
                ) from error
            log.warning("waiting for Kibana", extra={"reason": str(error)})
        await clock.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _check_status(answer: Answer, options: KibanaOptions) -> None:
    if answer.status in (401, 403):
        raise _refused(answer, options)
    if answer.status != 200 or not answer.body.keys() & {"status", "version"}:
        raise KibanaError(
            f"What answers at {options.address} is no Kibana: its answer to /api/status makes no "
            f"sense ({answer.status}). kibana.address needs the base path, if Kibana has one."
        )
    number = str(_member(answer.body, "version").get("number", ""))  # not told to strangers
    parts = number.split(".")
    if len(parts) > 1 and all(part.isdecimal() for part in parts[:2]):
        version = (int(parts[0]), int(parts[1]))
        if version < _OLDEST:
            raise KibanaError(f"Kibana {number} is too old: the dashboards need 8.12 or newer.")


def _check_imported(answer: Answer, options: KibanaOptions) -> None:
    if answer.status != 200:
        raise _refused(answer, options)
    if answer.body.get("success") is not True:
        lines = [f"\n  {_described(each)}" for each in _members(answer.body, "errors")]
        raise KibanaError(f"Kibana has not imported everything:{''.join(lines) or ' no reason'}")


def _refused(answer: Answer, options: KibanaOptions) -> KibanaError:
    reason = _text(answer.body.get("message") or answer.body.get("error") or "no reason")
    match answer.status:
        case 401 if options.authorization is None:
            return KibanaError("Kibana wants to know who we are: set kibana.user.")
        case 401:
            return KibanaError(
                f"Kibana does not accept the credentials, kibana.user or kibana.api_key ({reason})."
            )
        case 403:
            return KibanaError(
                "Kibana does not allow the import: the user needs the privilege Saved Objects "
                f"Management in the space {options.space} ({reason})."
            )
        case 404:
            return KibanaError(f"Kibana has no space {options.space}: make it, or correct the id.")
        case 422:
            return KibanaError(f"This Kibana is too old for the dashboards ({reason}).")
        case status:
            return KibanaError(f"Kibana does not import: it answers {status} ({reason}).")


def _described(error: Mapping[str, Any]) -> str:
    """Which object it is, and why it was not imported."""
    reason = _member(error, "error")
    missing = _members(reason, "references")
    details = [f"{each.get('type')} {each.get('id')}" for each in missing]
    details += [str(reason[name]) for name in ("message", "statusCode") if name in reason]
    told = f" ({', '.join(details)})" if details else ""
    return _text(f"{error.get('type')} {error.get('id')}: {reason.get('type')}{told}")


def _member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = body.get(name)
    return member if isinstance(member, dict) else {}


def _members(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    members = body.get(name)
    found = members if isinstance(members, list) else []
    return [each for each in found if isinstance(each, dict)]


def _text(value: object) -> str:
    """In one line, and not too long."""
    return " ".join(str(value).split())[:_LONGEST_TEXT]
