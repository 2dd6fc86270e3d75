from __future__ import annotations

import hashlib
import io
import sys
import threading
import zipfile

import pytest

from tasques.embedded.accounts import Account
from tasques.embedded.distribution import distribution, given_home, release_in
from tasques.embedded.errors import ClosedPathError, InvalidOptionError, MissingExtraError
from tasques.embedded.installation import install
from tasques.embedded.release import DEFAULT_VERSION, Release, release_of


def a_zip(version="1.2.3"):
    """A distribution in which the server is a script."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        script = zipfile.ZipInfo(f"elasticsearch-{version}/bin/elasticsearch")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, "#!/bin/sh\n")
        plain = zipfile.ZipInfo(f"elasticsearch-{version}/config/users")
        plain.external_attr = 0o100600 << 16
        archive.writestr(plain, "")
    return content.getvalue()


@pytest.fixture
def release(repository):
    repository.content = a_zip()
    digest = hashlib.sha512(repository.content).hexdigest()
    return Release(version="1.2.3", java=17, modules=frozenset(), sha512=digest)


@pytest.fixture
def environ(repository):
    return {"TASQUES_MAVEN_REPOSITORY": f"{repository.url}/maven/"}


def test_the_server_is_fetched_and_unpacked(release, environ, repository, tmp_path, progress):
    cache = tmp_path / "new" / "cache"

    home = distribution(release, environ, cache, progress)

    assert home == cache / "elasticsearch-1.2.3"
    assert (home / "bin" / "elasticsearch").stat().st_mode & 0o777 == 0o755
    assert (home / "config" / "users").stat().st_mode & 0o777 == 0o644
    assert (home / "bin").stat().st_mode & 0o777 == 0o755
    assert repository.paths == [f"/maven/{release.path}"]
    assert [text.split()[0] for text in progress.phases] == ["fetching", "unpacking"]


def test_nothing_but_the_server_stays_in_the_cache(release, environ, tmp_path, progress):
    distribution(release, environ, tmp_path, progress)

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"elasticsearch-1.2.3", ".elasticsearch-1.2.3.lock"}


def test_a_cached_server_is_not_fetched_again(release, environ, repository, tmp_path, progress):
    distribution(release, environ, tmp_path, progress)
    distribution(release, environ, tmp_path, progress)

    assert len(repository.paths) == 1


def test_a_server_with_missing_parts_is_fetched_anew(
    release, environ, repository, tmp_path, progress
):
    home = distribution(release, environ, tmp_path, progress)
    (home / "bin" / "elasticsearch").unlink()

    assert distribution(release, environ, tmp_path, progress) == home
    assert (home / "bin" / "elasticsearch").exists()
    assert len(repository.paths) == 2


def test_a_second_starter_waits_for_the_first_and_fetches_nothing(
    release, environ, repository, tmp_path, progress
):
    class Opener(type(progress)):
        """Lets the repository answer once the second starter is seen to wait."""

        def phase(self, text):
            super().phase(text)
            repository.gate.set()

    second_progress = Opener()
    repository.gate.clear()
    first = threading.Thread(target=distribution, args=(release, environ, tmp_path, progress))
    first.start()
    while not progress.phases:  # it has the lock from then on
        first.join(0.01)

    home = distribution(release, environ, tmp_path, second_progress)

    first.join()
    assert (home / "bin" / "elasticsearch").exists()
    assert second_progress.phases == ["waiting for another start to fetch Elasticsearch"]
    assert len(repository.paths) == 1


def test_the_repository_is_asked_of_jgo_when_none_is_given(
    release, tmp_path, progress, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jgo.maven", None)

    with pytest.raises(MissingExtraError, match="jgo"):
        distribution(release, {}, tmp_path, progress)


def test_a_cache_that_cannot_be_made_is_an_error_with_a_remedy(
    release, environ, tmp_path, progress
):
    (tmp_path / "file").touch()

    with pytest.raises(ClosedPathError, match="TASQUES_CACHE"):
        distribution(release, environ, tmp_path / "file" / "cache", progress)


def test_a_given_server_is_taken(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "elasticsearch").touch(mode=0o755)

    assert given_home({"TASQUES_ES_HOME": str(tmp_path)}) == tmp_path


def test_a_given_server_that_is_none_is_an_error(tmp_path):
    with pytest.raises(InvalidOptionError, match="TASQUES_ES_HOME"):
        given_home({"TASQUES_ES_HOME": str(tmp_path)})


def test_no_server_is_given_by_default():
    assert given_home({}) is None


@pytest.mark.parametrize(
    ("jar", "version"),
    [
        ("elasticsearch-9.2.8.jar", "9.2.8"),
        ("elasticsearch-7.0.0.jar", DEFAULT_VERSION),
        ("elasticsearch-core-9.2.8.jar", DEFAULT_VERSION),
    ],
)
def test_the_needs_of_a_given_server_are_those_of_its_version(tmp_path, jar, version):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / jar).touch()

    assert release_in(tmp_path, release_of(DEFAULT_VERSION)).version == version


def test_a_server_that_its_account_cannot_read_is_an_error(release, environ, tmp_path, progress):
    tmp_path.chmod(0o700)
    stranger = Account(54321, 54321)

    with pytest.raises(ClosedPathError, match=r"uid 54321.*TASQUES_CACHE"):
        install(release, environ, stranger, cache=tmp_path, progress=progress)


def test_every_release_has_a_whole_digest():
    for version in ("8.19.9", "8.19.21", "9.2.0", "9.2.8"):
        assert len(bytes.fromhex(release_of(version).sha512)) == 64


def test_an_unknown_version_is_an_error_that_names_the_known_ones():
    with pytest.raises(InvalidOptionError, match=r"8\.0\.0.*8\.19\.9"):
        release_of("8.0.0")
