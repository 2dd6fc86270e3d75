"""The Python of the README, run as a reader runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run, running

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def programs():
    """The producer, the worker and the test, as they are printed."""
    text = README.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.elasticsearch
def test_the_worker_does_what_the_producer_wants(programs, elasticsearch_url, prefix, tmp_path):
    producer, mails, _ = programs
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        (tmp_path / "mails.py").write_text(mails.replace("http://localhost:8080", address))
        with running("worker", "--app", "mails:worker", folder=tmp_path) as worker:
            code = producer.replace("http://localhost:8080", address)
            said = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True
            ).stdout
            worker.stop()

    assert said == "done {'sent_to': 'ada@example.org'}\n"


async def test_the_test_passes(programs, tmp_path, monkeypatch):
    _, mails, test = programs
    (tmp_path / "mails.py").write_text(mails)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # `mails` is gone afterwards
    members = {}
    exec(test, members)

    (function,) = [each for name, each in members.items() if name.startswith("test_")]
    await function()
