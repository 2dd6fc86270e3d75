"""Fetching one file over HTTP: resumed where it broke off, verified, then moved in place."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasques.embedded.errors import (
    ChecksumError,
    FetchError,
    MissingExtraError,
    NoNetworkError,
    translated,
)
from tasques.embedded.paths import require_room

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from requests import Response

    from tasques.embedded.progress import Progress

_CHUNK = 1 << 16  # bytes; less than this is lost where a download breaks off
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte
_PAUSES = (1.0, 3.0, 9.0)  # seconds between the attempts
_REMEDY = "set TASQUES_CACHE to a directory that can be written"


class _TemporaryError(Exception):
    """The network or the repository failed, and may not do so the next time."""


def fetch(
    url: str, target: Path, sha512: str, progress: Progress, *, pauses: Sequence[float] = _PAUSES
) -> None:
    """Fetch `url` into `target`, which appears only when it is whole and right.

    What arrived stays in a file beside it, also when the process is killed, and is continued.

    Args:
        url: where it is.
        target: where it is to be.
        sha512: of the whole, in hexadecimal digits.
        progress: told how many bytes of how many are there, and when it is tried again.
        pauses: seconds to wait before each further attempt.

    Raises:
        NoNetworkError: the repository was not reached, or broke off each time.
        ChecksumError: what came is something else, twice.
        FetchError: the repository refused.
        NoRoomError: the disk is full.
        ClosedPathError: the file cannot be written.
        MissingExtraError: requests is not installed.
    """
    part = target.with_name(f"{target.name}.part")
    host = urlsplit(url).hostname
    reasons: list[str] = []
    mismatches = 0
    for pause in (0.0, *pauses):
        if reasons:
            progress.phase(f"trying again to fetch {target.name} ({reasons[-1]})")
        time.sleep(pause)
        try:
            with translated("write", part, remedy=_REMEDY):
                _continue(url, part, progress)
                if _sha512_of(part) == sha512:
                    part.replace(target)
                    return
                part.unlink()
        except _TemporaryError as error:
            reasons.append(str(error))
            continue
        reasons.append("what arrived was damaged")
        mismatches += 1  # the first one may be the fault of an earlier download's beginning
        if mismatches == 2:
            raise ChecksumError(
                f"what {host} sends is not the file whose SHA-512 is known here: something on "
                "the way changes it; TASQUES_MAVEN_REPOSITORY names another repository"
            )
    raise NoNetworkError(
        f"cannot fetch from {host}: {reasons[-1]}. Check the network, the proxy variables and "
        "REQUESTS_CA_BUNDLE; or set TASQUES_MAVEN_REPOSITORY to a mirror, "
        "or TASQUES_ES_HOME to a server that is already unpacked"
    )


def _continue(url: str, part: Path, progress: Progress) -> None:
    """Append to `part` what is missing, or write it anew when the server cannot continue."""
    try:
        import requests  # noqa: PLC0415 -- part of the optional extra
    except ImportError as error:
        raise MissingExtraError("requests") from error
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if have and response.status_code == 416:
                return  # it is whole already, or of another file: its digest tells
            _require_success(response)
            _save(response, part, have, progress)
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # requests' sign of a bad address
            raise FetchError(f"{error}: see TASQUES_MAVEN_REPOSITORY") from error
        raise _TemporaryError(_innermost(error)) from error


def _require_success(response: Response) -> None:
    """Let a success pass; a refusal is final, a failure may be tried again."""
    if response.ok:
        return
    host = urlsplit(response.url).hostname  # not the whole: a password may be in it
    text = f"{host} answered {response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise _TemporaryError(text)
    raise FetchError(f"{text}: set TASQUES_MAVEN_REPOSITORY to a repository that has the file")


def _save(response: Response, part: Path, have: int, progress: Progress) -> None:
    continued = response.status_code == 206
    if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _TemporaryError("the repository sent another range than the one asked for")
    have = have if continued else 0
    length = int(response.headers.get("Content-Length") or 0)
    require_room(part.parent, length, "the download")
    with part.open("ab" if continued else "wb") as out:
        for chunk in response.iter_content(_CHUNK):
            out.write(chunk)
            progress.advance(out.tell(), have + length)


def _sha512_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _innermost(error: BaseException) -> str:
    """The reason at the bottom: what is wrapped around it repeats addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
