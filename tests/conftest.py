"""Fixtures for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

KEPT = {
    "TASQUES_CACHE",
    "TASQUES_ES_HOME",
    "TASQUES_JAVA_HOME",
    "TASQUES_MAVEN_REPOSITORY",
    "TASQUES_TEST_ELASTICSEARCH",
}

# A time limit for each example would fail on a busy machine.
settings.register_profile("tasques", deadline=None)
settings.load_profile("tasques")


def pytest_configure(config: pytest.Config) -> None:
    """What is set outside must not set up what is tested."""
    for name in [name for name in os.environ if name.startswith("TASQUES_")]:
        if name not in KEPT:
            del os.environ[name]
