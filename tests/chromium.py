"""A headless Chromium: the system's, else the one that playwright brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",  # it does not start as root otherwise; only our own pages are shown
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DOWNLOAD_SECONDS = 300
TO_INSTALL = "no Chromium: install the package `chromium`, or run `playwright install chromium`"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; skips the test where there is none to be had, but fails it in CI."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_executable(playwright), args=ARGUMENTS
        )
        try:
            yield browser
        finally:
            browser.close()


def _executable(playwright: Playwright) -> str:
    for name in SYSTEM_NAMES:
        if path := shutil.which(name):
            return path
    bundled = playwright.chromium.executable_path
    if Path(bundled).exists() or (_download() and Path(bundled).exists()):
        return bundled
    if os.environ.get("CI") == "true":
        pytest.fail(TO_INSTALL)
    pytest.skip(TO_INSTALL)


def _download() -> bool:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
