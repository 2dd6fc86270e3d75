from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tasques.embedded.accounts import Account
from tasques.embedded.errors import ClosedPathError, NoRoomError, translated
from tasques.embedded.locks import DirectoryLock
from tasques.embedded.paths import (
    cache_dir,
    data_dir,
    make_directory,
    make_ephemeral,
    open_to_all,
    require_room,
)

ROOT, USER = 0, 1000
HOME = {"HOME": "/home/u"}


@pytest.mark.parametrize(
    ("environ", "euid", "expected"),
    [
        (HOME, USER, "/home/u/.cache/tasques"),
        (HOME | {"XDG_CACHE_HOME": "/c"}, USER, "/c/tasques"),
        (HOME | {"XDG_CACHE_HOME": "relative"}, USER, "/home/u/.cache/tasques"),
        (HOME | {"XDG_CACHE_HOME": ""}, USER, "/home/u/.cache/tasques"),
        (HOME | {"XDG_CACHE_HOME": "/c", "TASQUES_CACHE": "/t"}, USER, "/t"),
        (HOME | {"XDG_CACHE_HOME": "/c"}, ROOT, "/var/cache/tasques"),
        (HOME | {"TASQUES_CACHE": "/t"}, ROOT, "/t"),
    ],
)
def test_the_cache_is_the_users_and_a_public_one_for_root(environ, euid, expected):
    assert cache_dir(environ, euid) == Path(expected)


@pytest.mark.parametrize(
    ("environ", "euid", "expected"),
    [
        (HOME, USER, "/home/u/.local/share/tasques/elasticsearch"),
        (HOME | {"XDG_DATA_HOME": "/d"}, USER, "/d/tasques/elasticsearch"),
        (HOME | {"XDG_DATA_HOME": "/d"}, ROOT, "/var/lib/tasques/elasticsearch"),
    ],
)
def test_data_are_kept_in_the_users_place_and_in_the_systems_for_root(environ, euid, expected):
    assert data_dir(environ, euid) == Path(expected)


def test_a_directory_is_made_for_everybody_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        make_directory(tmp_path / "a" / "b", "choose another")
    finally:
        os.umask(before)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o700)

    make_directory(tmp_path, "choose another")

    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_a_directory_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ClosedPathError, match="not a directory; choose another"):
        make_directory(tmp_path / "file", "choose another")


def test_room_that_is_there_is_enough(tmp_path):
    require_room(tmp_path, 1, "a test")


def test_room_that_no_disk_has_is_an_error(tmp_path):
    with pytest.raises(NoRoomError, match=r"a test needs .* MB.*TASQUES_CACHE"):
        require_room(tmp_path, 1 << 60, "a test")


def test_a_disk_that_fills_up_is_an_error_of_its_own():
    full = Path("/dev/full")  # every write there fails as on a full disk

    with pytest.raises(NoRoomError, match="make room"), translated("write", full, remedy="or not"):
        full.write_text("x")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def abandoned(parent, name, *, age):
    path = parent / name
    path.mkdir()
    lock = DirectoryLock(path)
    lock.acquire()
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path, lock


def test_temporary_directories_of_killed_processes_are_removed(temporary):
    dead, dead_lock = abandoned(temporary, "tasques-elasticsearch-dead", age=3600)
    dead_lock.release()
    young, young_lock = abandoned(temporary, "tasques-elasticsearch-young", age=0)
    young_lock.release()
    live, live_lock = abandoned(temporary, "tasques-elasticsearch-live", age=3600)
    other, other_lock = abandoned(temporary, "somebody-elses", age=3600)
    other_lock.release()

    path = make_ephemeral(None)

    live_lock.release()
    assert not dead.exists()
    assert all(kept.exists() for kept in (young, live, other, path))


def test_a_temporary_directory_is_made_where_the_account_can_enter(temporary):
    temporary.chmod(0o700)

    path = make_ephemeral(Account(54321, 54321))

    assert temporary not in path.parents
    assert Account(54321, 54321).can_reach(path)
    path.rmdir()


def test_a_tree_is_opened_to_all_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.touch(mode=0o600)
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o700)
    (tree / "program").touch(mode=0o700)
    (tree / "text").touch(mode=0o600)
    (tree / "link").symlink_to(outside)

    open_to_all(tree)

    assert tree.stat().st_mode & 0o777 == 0o755
    assert (tree / "program").stat().st_mode & 0o777 == 0o755
    assert (tree / "text").stat().st_mode & 0o777 == 0o644
    assert outside.stat().st_mode & 0o777 == 0o600
