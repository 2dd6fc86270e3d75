from __future__ import annotations

from datetime import timedelta

import pytest

from tasques.repository.indices import (
    IndexNames,
    IndexSettings,
    StoredIndex,
    managed_version,
    specs,
)


def an_index(**settings):
    return StoredIndex("t-tasks-v1", {}, {}, settings)


@pytest.mark.parametrize(
    ("meta", "version"),
    [
        ({"managed_by": "tasques", "version": 3}, 3),
        ({"managed_by": "tasques"}, 0),
        ({"managed_by": "tasques", "version": "3"}, 0),
        ({"managed_by": "others", "version": 3}, 0),
        (None, 0),
    ],
)
def test_only_our_mark_has_a_version(meta, version):
    assert managed_version(meta) == version


def test_settings_change_only_where_they_differ():
    wanted = IndexSettings(shards=1, replicas=2, refresh_interval=timedelta(seconds=1)).dynamic
    index = an_index(number_of_replicas="2", refresh_interval="5s")

    assert index.changes_to(wanted) == {"refresh_interval": "1000ms"}


def test_replicas_that_elasticsearch_chooses_are_left_to_it():
    wanted = IndexSettings(shards=1, replicas=2, refresh_interval=timedelta(seconds=1)).dynamic
    index = an_index(
        number_of_replicas="0",
        auto_expand_replicas="0-1",
        refresh_interval="1000ms",
    )

    assert index.changes_to(wanted) == {}


@pytest.mark.parametrize("shards", [1, 5])
def test_the_operator_decides_about_shards_but_not_of_recurring_tasks(shards):
    names = IndexNames("t")
    decided = IndexSettings(shards=shards, replicas=0, refresh_interval=timedelta(seconds=1))

    found = {spec.alias: spec.settings_of_new(decided)["number_of_shards"] for spec in specs(names)}

    assert found.pop(names.recurring_alias) == "1"
    assert set(found.values()) == {f"{shards}"}


def archive_of(prefix):
    return next(spec for spec in specs(IndexNames(prefix)) if spec.rolls_over)


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("t-archive-000001", 1),
        ("t-archive-000000", 0),
        ("t-archive-1234567", 1_234_567),
        ("t-archive-", None),
        ("t-archive", None),
        ("t-archive-old-000001", None),
        ("t-archive-\u0661", None),
        ("shrink-t-archive-000001", None),
        ("t-archive-archive-000001", None),
    ],
)
def test_only_numbers_after_the_alias_are_made_by_roll_overs(name, generation):
    assert archive_of("t").generation(name) == generation


def test_what_does_not_roll_over_has_no_generations():
    assert specs(IndexNames("t"))[0].generation("t-tasks-1") is None


def test_of_templates_that_overlap_the_more_specific_one_has_the_higher_rank():
    inner = specs(IndexNames("t-archive"))

    for spec in inner:
        assert spec.index.startswith("t-archive-")
        assert spec.priority > archive_of("t").priority


def test_only_indices_of_the_archive_have_a_lifecycle_and_only_with_a_policy():
    without, having = specs(IndexNames("t")), specs(IndexNames("t"), archive_policy="keep")

    assert archive_of("t").settings == {}
    assert having[-1].settings == {
        "lifecycle.name": "keep",
        "lifecycle.rollover_alias": "t-archive",
    }
    assert having[:-1] == without[:-1]
