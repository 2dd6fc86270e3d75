from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tasques.embedded.accounts import Account, acting_as, server_account

STRANGER = Account(54321, 54321)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")


@pytest.fixture
def public():
    """A directory that everybody can enter; pytest's own are closed."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_an_ordinary_user_runs_the_server_as_they_are():
    assert server_account(1000) is None


def test_root_runs_the_server_as_somebody_else():
    account = server_account(0)

    assert account is not None
    assert account.uid != 0
    assert account.gid != 0


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o644, True), (0o640, False), (0o700, False), (0o755, True)]
)
def test_a_file_of_others_is_reached_by_its_mode(public, mode, expected):
    file = public / "file"
    file.touch()
    file.chmod(mode)

    assert STRANGER.can_reach(file) is expected


def test_a_program_is_reached_only_when_it_can_be_executed(public):
    file = public / "java"
    file.touch()
    file.chmod(0o744)

    assert not STRANGER.can_reach(file)


def test_a_file_below_a_closed_folder_is_not_reached(public):
    folder = public / "closed"
    folder.mkdir()
    (folder / "file").touch(mode=0o644)
    folder.chmod(0o700)

    assert not STRANGER.can_reach(folder / "file")


def test_a_link_into_a_closed_folder_is_not_reached(public):
    folder = public / "closed"
    folder.mkdir()
    (folder / "file").touch(mode=0o644)
    folder.chmod(0o700)
    (public / "link").symlink_to(folder / "file")

    assert not STRANGER.can_reach(public / "link")


def test_owner_and_group_have_rights_of_their_own(public):
    file = public / "file"
    file.touch()
    file.chmod(0o640)
    found = file.stat()

    assert Account(found.st_uid, 54321).can_reach(file)
    assert Account(54321, found.st_gid).can_reach(file)


def test_acting_as_nobody_in_particular_changes_nothing():
    before = os.geteuid()
    with acting_as(None):
        assert os.geteuid() == before


@as_root
def test_root_acts_as_the_account_and_is_root_again(public):
    public.chmod(0o777)
    groups = os.getgroups()

    with acting_as(STRANGER):
        (public / "file").touch()
        inside = os.getgroups()

    found = (public / "file").stat()
    assert (found.st_uid, found.st_gid) == (54321, 54321)
    assert inside == []
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, os.getgid(), groups)


@as_root
def test_root_is_root_again_after_an_error(public):
    with pytest.raises(PermissionError), acting_as(STRANGER):
        (public / "file").touch()

    assert os.geteuid() == 0
