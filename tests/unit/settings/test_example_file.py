from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tasques.settings import ServerSettings, load, masked
from tasques.settings.structure import dotted, fields

EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"


EVERYTHING = re.sub(r"(?m)^( *)#(?=[a-z_]+:|- )", r"\1", EXAMPLE.read_text())
"""The example with its optional keys, those that begin with a #, switched on."""


@pytest.fixture
def uncommented(tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(EVERYTHING.replace("api_key:", "#api_key:"))  # excludes a user
    return path


def unset(settings: BaseModel) -> list[str]:
    nothing = []
    for path, _ in fields():
        value: object = settings
        for name in path:
            value = getattr(value, name, None)
        if value is None:
            nothing.append(dotted(path))
    return nothing


def test_the_example_file_has_the_defaults():
    loaded = load(EXAMPLE, {})

    assert loaded.settings == ServerSettings()
    assert loaded.warnings == ()


def test_the_example_file_names_every_setting(uncommented):
    settings = load(uncommented, {}).settings

    assert unset(settings) == [
        "tasques.server.elasticsearch.api_key",
        "tasques.server.kibana.api_key",
    ]


@pytest.mark.parametrize("path", [path for path, _ in fields()], ids=dotted)
def test_the_example_file_has_the_key(path):
    block = yaml.safe_load(EVERYTHING)["tasques"]["server"]
    for name in path:
        assert name in block
        block = block[name]


def test_the_example_policy_arrives_as_it_is(uncommented):
    policy = load(uncommented, {}).settings.lifecycle_setup.archived_tasks.custom_policy

    assert policy.policy["phases"]["delete"] == {"min_age": "365d", "actions": {"delete": {}}}


def test_what_is_shown_can_be_loaded_again(uncommented, tmp_path):
    shown = masked(load(uncommented, {}).settings)
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(shown))

    assert masked(load(again, {}).settings) == shown
    assert "'secret'" not in str(shown)
