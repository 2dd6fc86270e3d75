"""The example, from the command to the last cipher."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from chromium import chromium
from playwright.sync_api import expect
from processes import descendants, exist, wait_until

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "examples.ciphers", "--ephemeral", "--workers", "2"]
PATIENCE = 120.0  # seconds; an Elasticsearch, a server, a page and two workers start

pytestmark = [pytest.mark.browser, pytest.mark.elasticsearch]


@pytest.fixture
def example(tmp_path):
    """The running example, and the address of its page."""
    log = tmp_path / "example.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "--pause", "0"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def address():
        assert process.poll() is None, log.read_text()
        return re.search(r"The page +(http\S+)", log.read_text())

    try:
        yield process, wait_until(address, "the page is there", PATIENCE)[1]
    finally:
        family = descendants(process.pid)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        for pid, _ in family if exist(family) else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()


def test_a_message_that_is_typed_in_appears_with_its_ciphers(example):
    process, address = example
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 500})
        page.goto(address)
        page.get_by_label("Message").fill("<b>Bold</b> as Zoë")
        page.get_by_role("button", name="Cipher").click()
        cells = page.locator("tbody tr").first.locator("td")
        expected = [
            "<b>Bold</b> as Zoë",
            "<c>Cpme</c> bt Apë",
            "<o>Obyq</o> nf Mbë",
            "PGI+Qm9sZDwvYj4gYXMgWm/Dqw==",
            "f373f1aa0fae7bdf1a58ccbf92ff5955",
        ]
        expect(cells).to_have_text(expected, timeout=PATIENCE * 1000)
        for body in ('{"plain": ""}', r'{"plain": "\ud800"}', "{}"):
            refusal = page.request.post(
                f"{address}/messages", data=body, headers={"content-type": "application/json"}
            )
            assert refusal.status == 400
            assert "plain: " in refusal.json()["detail"]

    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    wait_until(lambda: not exist(family), "all processes ended")
