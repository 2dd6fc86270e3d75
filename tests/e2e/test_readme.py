"""The commands of the README, run as a reader runs them."""

from __future__ import annotations

import re
import subprocess

import pytest
from documented import ROOT, require_curl
from processes import run, running

README = ROOT / "README.md"
LEFT_OUT = "..."


def examples():
    """Each command with the answer that is printed below it."""
    text = README.read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            *command, last, answer = split(example)
            yield "\n".join([*command, last]), answer


def split(example):
    """The lines of the command, then the answer: a command goes on in a quote, or after a \\."""
    lines = example.splitlines()
    end = 1
    while "\n".join(lines[:end]).count("'") % 2 or lines[end - 1].endswith("\\"):
        end += 1
    return [*lines[:end], "".join(lines[end:])]


def pattern_of(answer):
    """The answer but for blanks, which are there for readers, and what was left out."""
    parts = "".join(answer.split()).split(LEFT_OUT)
    return ".*".join(re.escape(part) for part in parts)


@pytest.mark.elasticsearch
def test_the_examples_are_answered_as_shown(elasticsearch_url, prefix, tmp_path):
    """Whoever copies the commands one by one sees what the README shows."""
    require_curl()
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    found = list(examples())
    assert len(found) > 10
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        for command, answer in found:
            done = subprocess.run(
                ["sh", "-c", command.replace("http://localhost:8080", address)],
                capture_output=True,
                check=True,
                text=True,
            )
            said = "".join(done.stdout.split())
            assert re.fullmatch(pattern_of(answer), said), f"{command}\nanswers\n{done.stdout}"
