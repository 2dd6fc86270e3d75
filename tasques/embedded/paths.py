"""Where things are kept."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tasques.embedded.errors import ClosedPathError, NoRoomError, translated
from tasques.embedded.locks import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasques.embedded.accounts import Account

_EPHEMERAL = "tasques-elasticsearch-"
_SETTLED = 60.0  # seconds after which a new temporary directory has surely been locked
_SPARE = 64 << 20  # bytes that are left free on a disk


def cache_dir(environ: Mapping[str, str], euid: int) -> Path:
    """Where what was fetched is kept.

    Root's own home is closed to the account that runs the server, so root uses a public place.
    """
    if chosen := environ.get("TASQUES_CACHE"):
        return Path(chosen).expanduser().absolute()
    if euid == 0:
        return Path("/var/cache/tasques")
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "tasques"


def data_dir(environ: Mapping[str, str], euid: int) -> Path:
    """Where the data of `tasques dev` is kept between runs."""
    if euid == 0:
        return Path("/var/lib/tasques/elasticsearch")
    return _xdg(environ, "XDG_DATA_HOME", ".local/share") / "tasques" / "elasticsearch"


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """A base directory; relative values are to be ignored, says its specification."""
    chosen = Path(environ.get(variable, ""))
    if chosen.is_absolute():
        return chosen
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / default


def make_directory(path: Path, remedy: str) -> None:
    """Make `path` and what is missing above it; others may enter, whatever the umask is.

    Raises:
        NoRoomError: the disk is full.
        ClosedPathError: it cannot be made; the message ends with `remedy`.
    """
    with translated("make the directory", path, remedy=remedy):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        if not path.is_dir():
            raise NotADirectoryError(20, "it is not a directory")


def make_ephemeral(account: Account | None) -> Path:
    """A new temporary directory that `account` can enter; ones that crashes left are removed.

    Raises:
        ClosedPathError: no directory for temporary files is open to the account.
    """
    parents = [Path(tempfile.gettempdir())]
    if account is not None:
        parents = [p for p in (*parents, Path("/tmp"), Path("/var/tmp")) if _enters(account, p)]  # noqa: S108 -- mkdtemp makes it safe
    if not parents:
        raise ClosedPathError("no directory for temporary files is open to everybody: set TMPDIR")
    remove_abandoned(parents[0])
    with translated("make a directory in", parents[0], remedy="set TMPDIR to another place"):
        path = Path(tempfile.mkdtemp(prefix=_EPHEMERAL, dir=parents[0]))
        path.chmod(0o755)  # what is in it is closed
    return path


def _enters(account: Account, path: Path) -> bool:
    return path.is_dir() and account.can_reach(path)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary directories of processes that were killed."""
    for path in parent.glob(f"{_EPHEMERAL}*"):
        if _is_old_and_ours(path) and is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_old_and_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    age = time.time() - found.st_mtime  # noqa: TID251 -- compared with what the file system says
    return age > _SETTLED and found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode)


def require_room(path: Path, size: int, purpose: str) -> None:
    """Check that `size` bytes and some to spare are free where `path` is.

    Raises:
        NoRoomError: they are not.
    """
    free = shutil.disk_usage(path).free
    if free < size + _SPARE:
        raise NoRoomError(
            f"{purpose} needs {(size + _SPARE) >> 20} MB in {path} and {free >> 20} MB are free: "
            "make room, or set TASQUES_CACHE to a directory on another disk"
        )


def open_to_all(tree: Path) -> None:
    """Let everybody read all of it, and execute what its owner can."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
