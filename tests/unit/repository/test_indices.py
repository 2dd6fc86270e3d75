from __future__ import annotations

from datetime import timedelta

import pytest

from tasques.repository.indices import (
    IndexNames,
    IndexSettings,
    StoredIndex,
    alias_problem,
    choose,
    managed_version,
    specs,
)
from tasques.repository.setup_errors import SetupError

SPEC = specs(IndexNames("t"))[0]
WRITE = {"is_write_index": True}


def an_index(name, *, version=1, alias=WRITE, **settings):
    return StoredIndex(
        name,
        {} if alias is None else {"t-tasks": alias},
        {"_meta": {"managed_by": "tasques", "version": version}} if version else {},
        settings,
    )


def found(*indices):
    return {index.name: index for index in indices}


def test_nothing_found_means_that_the_index_has_to_be_made():
    assert choose(SPEC, {}) is None


def test_an_index_of_somebody_else_is_never_chosen():
    assert choose(SPEC, found(an_index("foreign", version=0))) is None


def test_our_index_is_chosen_when_the_alias_is_lost_or_elsewhere():
    ours = an_index("t-tasks-v1", alias=None)

    assert choose(SPEC, found(ours)) is ours
    assert choose(SPEC, found(an_index("foreign", version=0), ours)) is ours


def test_a_copy_of_our_index_keeps_the_alias():
    copy = an_index("t-tasks-more-shards")

    assert choose(SPEC, found(copy, an_index("t-tasks-v1", alias=None))) is copy


def test_an_index_of_a_newer_version_keeps_the_alias():
    newer = an_index("t-tasks-v2", version=2)

    assert choose(SPEC, found(newer, an_index("t-tasks-v1"))) is newer


def test_an_index_with_the_name_of_the_alias_is_an_error_that_says_what_to_do():
    with pytest.raises(SetupError, match=r"an index named t-tasks.*Copy what"):
        choose(SPEC, found(an_index("t-tasks", version=0, alias=None)))


@pytest.mark.parametrize(
    ("others", "alias", "problem"),
    [
        ([], WRITE, None),
        ([], None, "is missing"),
        ([], {}, "not a plain write alias"),
        ([], {"is_write_index": False}, "not a plain write alias"),
        ([], {"is_write_index": True, "filter": {"term": {"queue": "a"}}}, "not a plain"),
        (["other"], WRITE, "points to other and t-tasks-v1 instead of t-tasks-v1 alone"),
        (["other"], None, "points to other instead of t-tasks-v1 alone"),
    ],
)
def test_only_a_plain_write_alias_of_one_index_is_right(others, alias, problem):
    current = an_index("t-tasks-v1", alias=alias)
    everything = found(current, *(an_index(name, version=0) for name in others))

    stated = alias_problem(SPEC, everything, current)

    assert stated is None if problem is None else problem in stated


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
    index = an_index("t-tasks-v1", number_of_replicas="2", refresh_interval="5s")

    assert index.changes_to(wanted) == {"refresh_interval": "1000ms"}


def test_replicas_that_elasticsearch_chooses_are_left_to_it():
    wanted = IndexSettings(shards=1, replicas=2, refresh_interval=timedelta(seconds=1)).dynamic
    index = an_index(
        "t-tasks-v1",
        number_of_replicas="0",
        auto_expand_replicas="0-1",
        refresh_interval="1000ms",
    )

    assert index.changes_to(wanted) == {}
