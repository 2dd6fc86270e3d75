"""Policies, judged by Elasticsearch's own parser: the embedded distribution lacks the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch
from plugged import plugged_home

from tasques.embedded import Cluster
from tasques.repository.archive import ElasticsearchTaskArchive
from tasques.repository.connection import Connection
from tasques.repository.features import probe
from tasques.repository.indices import IndexNames
from tasques.repository.lifecycle import LifecyclePolicy, RolloverConditions, default_policy
from tasques.repository.setup import check, setup
from tasques.repository.setup_errors import SetupError

pytestmark = pytest.mark.elasticsearch

SOURCE = Path(__file__).parents[1] / "plugin" / "LifecyclePlugin.java"
CONDITIONS = RolloverConditions(max_age="1d", max_primary_shard_size="50gb")
CUSTOM = LifecyclePolicy(
    "Keep_a-year.v2",
    {
        "_meta": {"team.Mail": {"Contact": "ops@example.com"}},
        "phases": {
            "hot": {
                "actions": {
                    "rollover": {"max_age": "7d", "max_docs": 5_000_000_000},
                    "set_priority": {"priority": 100},
                }
            },
            "warm": {
                "min_age": "30d",
                "actions": {"readonly": {}, "shrink": {"number_of_shards": 1}},
            },
            "delete": {"min_age": "365d", "actions": {"delete": {}}},
        },
    },
)


@pytest.fixture(scope="module", params=["8.19.9", "9.2.0"])
async def client(request):
    """An Elasticsearch that takes policies; each with the actions of its own version."""
    home = plugged_home(SOURCE, "tasques.test.LifecyclePlugin", request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASQUES_ES_HOME", str(home))
        with Cluster(version=request.param) as cluster:
            async with AsyncElasticsearch(cluster.urls, request_timeout=60) as client:
                yield client


@pytest.fixture
def names(request):
    return IndexNames(request.node.originalname.replace("_", "-"))


async def set_up(client, names, policy):
    return await setup(
        client,
        names=names,
        shards=1,
        replicas=0,
        refresh_interval=timedelta(seconds=1),
        archive_policy=policy,
    )


async def stored(client, name):
    return (await client.ilm.get_lifecycle(name=name))[name]["policy"]


async def test_the_probe_finds_lifecycle_management(client):
    """What only a cluster with it has is there."""
    assert (await probe(client)).has_lifecycle


async def test_the_default_policy_is_valid_and_set_up_once(client, names):
    """Roll over, then read-only and compact, and nothing is deleted; a second run does nothing."""
    policy = default_policy(
        names, RolloverConditions(max_age="1d", max_primary_shard_size="50gb", max_docs=7)
    )

    first = await set_up(client, names, policy)
    second = await set_up(client, names, policy)

    assert first.created[0] == f"lifecycle policy {names.archive_alias}"
    assert not second.is_changed
    phases = (await stored(client, policy.name))["phases"]
    assert set(phases) == {"hot", "warm"}
    rollover = phases["hot"]["actions"]["rollover"]
    assert {"max_age": "1d", "max_primary_shard_size": "50gb", "max_docs": 7}.items() <= (
        rollover.items()
    )
    assert set(phases["warm"]["actions"]) == {"readonly", "forcemerge"}
    assert (await check(client, names)).problems == []


async def test_a_custom_policy_is_taken_to_the_letter(client, names):
    """Capitals, dots and empty objects survive, `delete` among them."""
    await set_up(client, names, CUSTOM)

    policy = await stored(client, CUSTOM.name)
    assert policy["_meta"] == CUSTOM.policy["_meta"]
    assert "delete" in policy["phases"]["delete"]["actions"]
    assert "readonly" in policy["phases"]["warm"]["actions"]
    assert policy["phases"]["hot"]["actions"]["rollover"]["max_docs"] == 5_000_000_000


async def test_every_index_of_the_archive_and_no_other_has_the_policy(client, names):
    """Template, first index and roll-overs name policy and alias."""
    await set_up(client, names, CUSTOM)
    await client.indices.rollover(alias=names.archive_alias)

    found = await client.indices.get(index=f"{names.prefix}-*", flat_settings=True)

    named = {
        index: (
            it["settings"].get("index.lifecycle.name"),
            it["settings"].get("index.lifecycle.rollover_alias"),
        )
        for index, it in found.items()
    }
    archive = {f"{names.archive_alias}-00000{number}" for number in (1, 2)}
    assert {name for name, it in named.items() if it != (None, None)} == archive
    assert {named[name] for name in archive} == {(CUSTOM.name, names.archive_alias)}


async def test_another_policy_takes_over_from_the_current_index_on(client, names):
    """A change of the configuration is an upgrade of template and current index."""
    await set_up(client, names, default_policy(names, CONDITIONS))

    report = await set_up(client, names, CUSTOM)

    assert f"index template {names.archive_alias}" in report.upgraded
    assert any(CUSTOM.name in line for line in report.upgraded)
    assert not (await set_up(client, names, CUSTOM)).is_changed


async def test_a_changed_policy_is_an_upgrade(client, names):
    """Conditions follow the configuration."""
    await set_up(client, names, default_policy(names, CONDITIONS))
    changed = RolloverConditions(max_age="2d", max_primary_shard_size="50gb")

    report = await set_up(client, names, default_policy(names, changed))

    assert report.upgraded == [f"lifecycle policy {names.archive_alias}"]


async def test_a_policy_that_came_later_is_added_to_what_is_there(client, names):
    """Switching the lifecycle on repairs template and index of a set-up without it."""
    await set_up(client, names, None)

    await set_up(client, names, CUSTOM)

    settings = await client.indices.get_settings(index=names.archive_alias, flat_settings=True)
    (index,) = settings.values()
    assert index["settings"]["index.lifecycle.name"] == CUSTOM.name


async def test_where_a_policy_rolls_over_the_server_does_not(client, names):
    """Only one of the two does it, whatever the conditions are."""
    archive = ElasticsearchTaskArchive(
        tasks_alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=Connection(client, authorization=None),
        conditions=RolloverConditions(max_age="1ms", max_primary_shard_size="1b"),
        max_bytes=1024,
        request_timeout=60,
    )
    await set_up(client, names, CUSTOM)
    await client.index(index=names.archive_alias, document={"id": "1"}, refresh=True)

    assert await archive.roll_over() is None


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        ({"hot": {"actions": {"melt": {}}}}, "melt"),
        ({"delete": {"actions": {"rollover": {"max_age": "1d"}}}}, "rollover"),
        ({"hot": {"actions": {"rollover": {"max_aeg": "1d"}}}}, "max_aeg"),
        ({"warm": {"min_age": "90 days", "actions": {}}}, "90 day"),
    ],
)
async def test_a_policy_that_elasticsearch_does_not_take_stops_the_set_up(
    client, names, phases, reason
):
    """Its own words say what is wrong, and nothing was made."""
    with pytest.raises(SetupError, match=reason):
        await set_up(client, names, LifecyclePolicy("broken", {"phases": phases}))

    assert not await client.indices.exists(index=names.archive_index)
