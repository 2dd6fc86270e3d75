"""The directory in which several processes of one server share their figures."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tasques.metrics import NoDirectoryError, shared_metrics
from tasques.settings.model import MetricsSettings

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def test_it_is_there_while_they_run():
    with shared_metrics(MetricsSettings()) as forget:
        directory = Path(os.environ[VARIABLE])
        for name in ("counter_7.db", "gauge_livesum_7.db", "gauge_livesum_8.db"):
            (directory / name).touch()
        forget(7)
        assert {each.name for each in directory.iterdir()} == {
            "counter_7.db",
            "gauge_livesum_8.db",
        }

    assert not directory.exists()
    assert VARIABLE not in os.environ


def test_nothing_is_made_if_nothing_is_counted():
    with shared_metrics(MetricsSettings(enabled=False)) as forget:
        assert VARIABLE not in os.environ
        forget(7)


def test_without_a_place_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))

    with (
        pytest.raises(NoDirectoryError, match=r"TMPDIR.*metrics\.enabled.*No such file"),
        shared_metrics(MetricsSettings()),
    ):
        pass
