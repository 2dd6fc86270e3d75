from __future__ import annotations

import json
from pathlib import Path

import pytest
from conformance.comparison import differences
from conformance.intended import intended_differences
from conformance.replay import Replay, StoredTasks
from conformance.transcripts import recorded
from processes import run, running

from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch

TRANSCRIPTS = Path(__file__).with_name("transcripts.json")
USERS = [
    {"name": "user", "password": "passw0rd"},
    {"name": "second", "password": "secret2"},
]
PROFILES = {"default": {}, "auth": {"auth.basic_auth": json.dumps(USERS)}}
"""In this order: `auth` reads a task that `default` made."""


def exchanges():
    """Those that need no background work."""
    return [exchange for exchange in recorded(TRANSCRIPTS) if exchange.profile in PROFILES]


async def test_all_routes_answer_as_the_original_does(
    elasticsearch, elasticsearch_url, prefix, tmp_path
):
    """Clients of the original find nothing changed but what is listed, with its reason."""
    base = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    tasks = StoredTasks(elasticsearch, IndexNames(prefix).tasks_alias)
    intended = {number: each for each in intended_differences() for number in each.exchanges}
    run("setup", folder=tmp_path, settings=base)

    found = []
    for profile, settings in PROFILES.items():
        with running("server", folder=tmp_path, settings=base | settings) as server:
            replay = Replay(server.wait_until_ready(), tasks, intended)
            for exchange in exchanges():
                if exchange.profile == profile:
                    found += await replay.play(exchange)

    assert not found, "\n".join(["", *found])


def test_every_intended_difference_is_one_and_is_met_once():
    """The list says nothing about what is not replayed, nothing twice, and nothing idle."""
    originals = {exchange.number: exchange.answer for exchange in exchanges()}
    listed = [(number, each) for each in intended_differences() for number in each.exchanges]

    assert sorted(number for number, _ in listed) == sorted(
        {n for n, _ in listed} & originals.keys()
    )
    assert all(differences(originals[n], each.instead_of(originals[n])) for n, each in listed)
