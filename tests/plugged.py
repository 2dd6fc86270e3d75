"""An Elasticsearch with a plugin of our own, compiled with nothing but a Java runtime."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from jgo.maven import MavenContext

from tasques.embedded.accounts import server_account
from tasques.embedded.installation import Installation, install
from tasques.embedded.locks import exclusive
from tasques.embedded.paths import cache_dir, open_to_all
from tasques.embedded.progress import Silence
from tasques.embedded.release import Release, release_of

COMPILER = ("org.eclipse.jdt", "ecj", "3.43.0")
DESCRIPTOR = """\
name={name}
description=for tests
version=1
classname={class_name}
java.version={java}
extended.plugins=x-pack-core
elasticsearch.version={version}
"""


def plugged_home(source: Path, class_name: str, version: str) -> Path:
    """The home of a server that has the plugin; made once for each content of `source`."""
    cache = cache_dir(os.environ, os.geteuid())
    account = server_account(os.geteuid())
    release = release_of(version)
    installation = install(release, os.environ, account, cache=cache, progress=Silence())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    home = cache / f"{installation.home.name}-{source.stem.lower()}-{digest}"
    with exclusive(cache / f".{home.name}.lock", lambda: None):
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".plugging-") as staging:
                _build(installation, release, source, class_name, cache, Path(staging)).rename(home)
    return home


def _build(
    installation: Installation,
    release: Release,
    source: Path,
    class_name: str,
    cache: Path,
    staging: Path,
) -> Path:
    home = staging / "home"
    # Links take no room; the server only reads its home.
    shutil.copytree(installation.home, home, copy_function=os.link)
    classes = _compile(installation, release, source, cache, staging)
    plugin = home / "plugins" / source.stem.lower()
    plugin.mkdir(parents=True)
    with zipfile.ZipFile(plugin / "plugin.jar", "w") as jar:
        for file in classes.rglob("*.class"):
            jar.write(file, file.relative_to(classes))
    (plugin / "plugin-descriptor.properties").write_text(
        DESCRIPTOR.format(
            name=plugin.name, class_name=class_name, java=release.java, version=release.version
        )
    )
    open_to_all(home / "plugins")
    home.chmod(0o755)
    return home


def _compile(
    installation: Installation, release: Release, source: Path, cache: Path, staging: Path
) -> Path:
    classes = staging / "classes"
    jars = [
        *installation.home.glob("lib/*.jar"),
        *installation.home.glob("modules/x-pack-core/*.jar"),
    ]
    java = installation.java / "bin" / "java"
    # `-17`, say, and not `--release 17`: the latter needs what only a JDK has.
    options = [f"-{release.java}", "-nowarn", "-proc:none", "-cp", os.pathsep.join(map(str, jars))]
    subprocess.run([java, "-jar", _compiler(cache), *options, "-d", classes, source], check=True)
    return classes


def _compiler(cache: Path) -> Path:
    group, name, version = COMPILER
    repository = os.environ.get("TASQUES_MAVEN_REPOSITORY")
    where = {"remote_repos": {"chosen": repository}} if repository else {}
    context = MavenContext(repo_cache=cache / "m2", **where)
    found: Path = context.project(group, name).at_version(version).artifact().resolve()
    return found
