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
    from collections.abc import Callable
    from pathlib import Path

    import requests

_CHUNK = 1 << 18
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte
_PAUSES = (1.0, 3.0, 9.0)  # seconds between the attempts
_REMEDY = "set TASQUES_CACHE to a directory that can be written"


class _TemporaryError(Exception):
    """The repository failed, and may not do so the next time."""


def fetch(
    url: str,
    target: Path,
    sha512: str,
    *,
    on_bytes: Callable[[int, int], None],
    pauses: tuple[float, ...] = _PAUSES,
) -> None:
    """Fetch `url` into `target`, which appears only when it is whole and right.

    What arrived stays in a file beside it, also when the process is killed, and is continued.

    Args:
        url: where it is.
        target: where it is to be.
        sha512: of the whole, in hexadecimal digits.
        on_bytes: told how many bytes of how many are there.
        pauses: seconds to wait after each failure; one attempt more than there are pauses.

    Raises:
        NoNetworkError: the repository was not reached, or broke off each time.
        ChecksumError: what came is something else, twice.
        FetchError: the repository refused.
        NoRoomError: the disk is full.
        ClosedPathError: the file cannot be written.
    """
    try:
        import requests  # noqa: PLC0415 -- part of the optional extra
    except ImportError as error:
        raise MissingExtraError("requests") from error
    part = target.with_name(f"{target.name}.part")
    host = urlsplit(url).hostname
    mismatches = 0
    failure: Exception | None = None
    for pause in (*pauses, None):
        try:
            with translated("write", part, remedy=_REMEDY):
                with requests.Session() as session:
                    _continue(session, url, part, on_bytes)
                if _sha512_of(part) == sha512:
                    part.replace(target)
                    return
                part.unlink()
            mismatches += 1
            failure = None
            if mismatches > 1:
                break
        except (requests.RequestException, _TemporaryError) as error:
            failure = error
        if pause is not None:
            time.sleep(pause)
    if failure is None:
        raise ChecksumError(
            f"what {host} sends is not the file whose SHA-512 is known here: something on the way "
            "changes it; TASQUES_MAVEN_REPOSITORY names another repository"
        )
    raise NoNetworkError(
        f"cannot fetch from {host}: {_short(failure)}. Check the network and the proxy "
        "variables, or set TASQUES_MAVEN_REPOSITORY to a mirror, "
        "or TASQUES_ES_HOME to a server that is already unpacked"
    )


def _continue(
    session: requests.Session, url: str, part: Path, on_bytes: Callable[[int, int], None]
) -> None:
    """Append to `part` what is missing, or write it anew when the server cannot continue."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if have and response.status_code == 416:  # nothing is missing, or it is another file
            return
        _check_status(response, urlsplit(url).hostname)
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code == 206 and not resumed:
            raise FetchError(f"{urlsplit(url).hostname} answered another range than the asked one")
        have = have if response.status_code == 206 else 0
        total = have + int(response.headers.get("Content-Length") or 0)
        require_room(part.parent, total - have, "the download")
        with part.open("ab" if have else "wb") as out:
            for chunk in response.iter_content(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                on_bytes(have, total)


def _check_status(response: requests.Response, host: str | None) -> None:
    """Let a success pass; a refusal is final, a failure may be tried again."""
    if response.ok:
        return
    text = f"{host} answered {response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise _TemporaryError(text)
    raise FetchError(f"{text}: set TASQUES_MAVEN_REPOSITORY to a repository that has the file")


def _sha512_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _short(error: Exception) -> str:
    """The innermost reason: what wraps it repeats addresses."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(
        inner, Exception
    ):
        error = inner
    return str(error) or type(error).__name__
