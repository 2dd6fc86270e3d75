"""What all nodes of a cluster share: the server's files, a Java, and as whom it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasques.embedded.distribution import distribution, given_home, release_in
from tasques.embedded.errors import ClosedPathError
from tasques.embedded.java import find_java, java_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasques.embedded.accounts import Account
    from tasques.embedded.progress import Progress
    from tasques.embedded.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """All that is needed to start a node.

    Attributes:
        home: the server's files; only read.
        java: the home of a Java.
        account: as whom the server runs; `None` is as we are.
    """

    home: Path
    java: Path
    account: Account | None


def install(
    release: Release,
    environ: Mapping[str, str],
    account: Account | None,
    *,
    cache: Path,
    progress: Progress,
) -> Installation:
    """Have everything that `release` needs; what is missing is fetched into `cache`.

    Raises:
        EmbeddedError: one of its kinds.
    """
    given = given_home(environ)
    home = given or distribution(release, environ, cache, progress)
    if account and not account.can_reach(home / "bin" / "elasticsearch"):
        variable = "TASQUES_ES_HOME" if given else "TASQUES_CACHE"
        raise ClosedPathError(
            f"{home} is closed to uid {account.uid}, which runs Elasticsearch: "
            f"set {variable} to a directory that everybody can enter"
        )
    java = find_java(release_in(home, release), environ, bundled=home / "jdk")
    return Installation(home=home, java=java_for(account, java, cache, progress), account=account)
