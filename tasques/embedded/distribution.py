"""The server's files: fetched and unpacked once, read-only afterwards, shared by all nodes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tasques.embedded.download import fetch
from tasques.embedded.errors import InvalidOptionError, MissingExtraError, translated
from tasques.embedded.locks import exclusive
from tasques.embedded.paths import make_directory, open_to_all, require_room
from tasques.embedded.release import Release, release_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasques.embedded.progress import Progress

_REMEDY = "set TASQUES_CACHE to a directory that can be written"


def distribution(
    release: Release, environ: Mapping[str, str], cache: Path, progress: Progress
) -> Path:
    """The home of an unpacked server; fetched into `cache` when it is not there.

    Raises:
        EmbeddedError: it cannot be had; which of its kinds, says why.
    """
    home = cache / f"elasticsearch-{release.version}"
    if _is_whole(home):
        return home
    make_directory(cache, _REMEDY)
    with (
        translated("write to", cache, remedy=_REMEDY),
        exclusive(
            cache / f".{home.name}.lock",
            lambda: progress.phase("waiting for another start to fetch Elasticsearch"),
        ),
    ):
        if not _is_whole(home):
            _install(release, environ, home, progress)
    return home


def given_home(environ: Mapping[str, str]) -> Path | None:
    """The server that `TASQUES_ES_HOME` names.

    Raises:
        InvalidOptionError: there is none.
    """
    if not (chosen := environ.get("TASQUES_ES_HOME")):
        return None
    home = Path(chosen).expanduser().absolute()
    if not _is_whole(home):
        raise InvalidOptionError(f"TASQUES_ES_HOME={chosen} has no bin/elasticsearch to start")
    return home


def release_in(home: Path, otherwise: Release) -> Release:
    """What the server in `home` needs, as far as its version is known here."""
    for jar in home.glob("lib/elasticsearch-[0-9]*.jar"):
        if version := re.fullmatch(r"elasticsearch-(\d+\.\d+\.\d+)\.jar", jar.name):
            try:
                return release_of(version[1])
            except InvalidOptionError:
                break
    return otherwise


def _is_whole(home: Path) -> bool:
    return os.access(home / "bin" / "elasticsearch", os.X_OK)


def _install(release: Release, environ: Mapping[str, str], home: Path, progress: Progress) -> None:
    archive = home.with_name(f"{home.name}.zip")
    if not archive.exists():  # it is moved in place only after it was verified
        progress.phase(f"fetching Elasticsearch {release.version}")
        url = f"{_repository(environ)}/{release.path}"
        fetch(url, archive, release.sha512, progress)
    progress.phase(f"unpacking Elasticsearch {release.version}")
    _unpack(archive, home)
    archive.unlink()


def _repository(environ: Mapping[str, str]) -> str:
    """The address of the Maven repository: the chosen one, else the one that jgo knows."""
    if chosen := environ.get("TASQUES_MAVEN_REPOSITORY"):
        return chosen.rstrip("/")
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 -- part of the optional extra
    except ImportError as error:
        raise MissingExtraError("jgo") from error
    known: dict[str, str] = MavenContext().remote_repos
    return next(iter(known.values())).rstrip("/")


def _unpack(archive: Path, home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=home.parent) as staging:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            require_room(home.parent, sum(m.file_size for m in members), "unpacking")
            zipped.extractall(staging)
        for member in members:  # zipfile does not restore modes
            if member.external_attr >> 16 & 0o100 and not member.is_dir():
                Path(staging, member.filename).chmod(0o755)
        open_to_all(Path(staging))
        if home.exists():  # somebody removed parts of it
            shutil.rmtree(home)
        Path(staging, home.name).rename(home)
