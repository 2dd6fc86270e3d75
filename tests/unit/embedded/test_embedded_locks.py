from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from tasques.embedded.errors import DataInUseError
from tasques.embedded.locks import DirectoryLock, exclusive, is_abandoned

HOLDER = """
import sys
from pathlib import Path
from tasques.embedded.locks import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_directory_in_use_is_refused_with_its_holder(tmp_path, holder):
    with pytest.raises(DataInUseError, match=f"in use by process {holder.pid}"):
        DirectoryLock(tmp_path).acquire()


def test_a_directory_of_a_killed_process_can_be_used(tmp_path, holder):
    holder.kill()
    holder.wait()
    lock = DirectoryLock(tmp_path)

    lock.acquire()

    assert (tmp_path / ".lock").read_text() == str(os.getpid())
    lock.release()


def test_a_second_use_in_the_same_process_is_refused(tmp_path):
    lock = DirectoryLock(tmp_path)
    lock.acquire()

    with pytest.raises(DataInUseError):
        DirectoryLock(tmp_path).acquire()

    lock.release()


def test_a_directory_that_was_given_back_can_be_used(tmp_path):
    lock = DirectoryLock(tmp_path)
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()


def test_a_server_that_outlives_its_starter_is_waited_for(tmp_path):
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    with subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    ) as server:
        os.pwrite(lock.descriptor, b"4194305     ", 0)  # above any process id: a dead starter
        os.truncate(lock.descriptor, 7)
        lock.release()
        second = DirectoryLock(tmp_path)
        waiting = threading.Thread(target=second.acquire)
        waiting.start()
        waiting.join(0.2)
        was_waiting = waiting.is_alive()
        server.stdin.close()
        waiting.join(30)

    assert was_waiting
    assert second.descriptor > 0
    second.release()


def test_a_descriptor_is_there_only_while_the_lock_is_held(tmp_path):
    with pytest.raises(ValueError, match="not held"):
        _ = DirectoryLock(tmp_path).descriptor


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        DirectoryLock(tmp_path).acquire()


def test_only_a_directory_that_was_locked_once_is_abandoned(tmp_path):
    never = is_abandoned(tmp_path)
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    held = is_abandoned(tmp_path)
    lock.release()

    assert (never, held, is_abandoned(tmp_path)) == (False, False, True)


def test_who_must_wait_is_told_once(tmp_path):
    told = []
    entered = threading.Event()

    def second():
        with exclusive(tmp_path / "lock", lambda: told.append("wait")):
            entered.set()

    with exclusive(tmp_path / "lock", lambda: told.append("never")):
        thread = threading.Thread(target=second)
        thread.start()
        while not told:
            thread.join(0.01)
        inside_meanwhile = entered.is_set()
    thread.join()

    assert told == ["wait"]
    assert not inside_meanwhile
    assert entered.is_set()
