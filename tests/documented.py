"""Commands that the documentation tells to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def require_curl() -> None:
    """Leave the test out where there is none, but never in CI."""
    if shutil.which("curl") is None and os.environ.get("CI") != "true":
        pytest.skip("no curl: install the package `curl`")


def scripts(file: str, section: str) -> list[str]:
    """The blocks for a shell below a heading, in their order."""
    text = (ROOT / file).read_text(encoding="utf-8")
    (below,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```", below, re.MULTILINE | re.DOTALL)


def run_script(script: str, environment: dict[str, str]) -> str:
    """Run a block as a reader does, up to its first error; returns what it prints.

    Args:
        script: for `sh`.
        environment: all of it but for the path, which leads to our commands first.
    """
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script],
        env=environment | {"PATH": path},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, f"{script}\nsays\n{done.stdout}\n{done.stderr}"
    return done.stdout
