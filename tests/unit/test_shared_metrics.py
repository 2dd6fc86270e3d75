"""The directory in which several processes of one server share their figures."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from processes import wait_until

from tasques.metrics import NoDirectoryError, shared_metrics
from tasques.settings.model import MetricsSettings
from tasques.shared_figures import shared_directory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def test_it_is_there_while_they_run():
    with shared_metrics(MetricsSettings()) as forget:
        directory = Path(os.environ[VARIABLE])
        for name in ("counter_7.db", "gauge_livesum_7.db", "gauge_livesum_8.db"):
            (directory / name).touch()
        forget(7)
        assert {each.name for each in directory.glob("*.db")} == {
            "counter_7.db",
            "gauge_livesum_8.db",
        }

    assert not directory.exists()
    assert VARIABLE not in os.environ


def test_nothing_is_made_if_nothing_is_counted():
    with shared_metrics(MetricsSettings(enabled=False)) as forget:
        assert VARIABLE not in os.environ
        forget(7)


# ---------------------------------------------------------------- what killed servers leave

PROGRAM = """
import os, sys, time
from tasques.shared_figures import shared_directory
with shared_directory() as directory:
    child = os.fork()
    if child == 0:
        sys.stdin.read()  # until its end
        os._exit(0)
    print(directory, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def server(place):
    """A process with a child, both of which use a directory; the child ends with its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def test_what_a_killed_server_left_is_removed_when_its_last_process_has_ended(server):
    left = Path(server.stdout.readline().strip())
    (left / "counter_7.db").touch()
    server.kill()
    server.wait()
    with shared_directory():
        assert left.exists()  # the child may still write

    server.stdin.close()

    def is_removed():
        with shared_directory():
            return not left.exists()

    wait_until(is_removed, "it is removed")


def test_what_a_running_server_uses_stays(server):
    used = Path(server.stdout.readline().strip())
    with shared_directory(), shared_directory():
        assert used.exists()


def test_what_is_no_server_s_stays(place):
    other = place / "other"
    other.mkdir()
    (other / "lock").touch()
    (place / "tasques-metrics-link").symlink_to(other)
    (place / "tasques-metrics-file").touch()
    (place / "tasques-metrics-new").mkdir()  # has no lock yet

    with shared_directory():
        assert len(list(place.iterdir())) == 5
    assert len(list(place.iterdir())) == 4
    assert (other / "lock").exists()


def test_without_a_place_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))

    with (
        pytest.raises(NoDirectoryError, match=r"TMPDIR.*metrics\.enabled.*No such file"),
        shared_metrics(MetricsSettings()),
    ):
        pass
