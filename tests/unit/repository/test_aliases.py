from __future__ import annotations

import pytest

from tasques.repository.aliases import alias_actions, alias_problem, choose
from tasques.repository.indices import IndexNames, StoredIndex, specs
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


# ------------------------------------------------------------------------------ the archive

ARCHIVE = next(spec for spec in specs(IndexNames("t")) if spec.rolls_over)
READ = {"is_write_index": False}


def archived(number, alias=WRITE, name="t-archive-{:06}"):
    return StoredIndex(name.format(number), {} if alias is None else {"t-archive": alias}, {}, {})


def test_the_newest_of_the_archive_is_chosen_whoever_has_the_alias():
    newest = archived(10, alias=None)
    everything = found(archived(9), newest, archived(2, READ))

    assert choose(ARCHIVE, everything) is newest
    assert choose(ARCHIVE, found(archived(1, name="shrink-t-archive-{:06}"))) is None


@pytest.mark.parametrize(
    ("others", "alias", "problem"),
    [
        ([], WRITE, None),
        ([archived(1, READ)], WRITE, None),
        ([archived(1, {})], WRITE, None),
        ([archived(1, None)], WRITE, None),
        ([archived(1, None)], None, "The alias t-archive is missing"),
        ([archived(1)], None, "writes to t-archive-000001 instead of t-archive-000002"),
        ([archived(1, {})], None, "writes to t-archive-000001 instead"),
        ([archived(0), archived(1)], WRITE, "writes to t-archive-000000 and t-archive-000001"),
        ([archived(1, READ)], None, "not a plain write alias of t-archive-000002"),
        ([archived(1, READ)], READ, "not a plain write alias"),
        ([], WRITE | {"filter": {}}, "not a plain write alias"),
    ],
)
def test_the_archive_is_written_in_its_newest_index_alone(others, alias, problem):
    current = archived(2, alias)

    stated = alias_problem(ARCHIVE, found(current, *others), current)

    assert stated is None if problem is None else problem in stated


def after(indices, current):
    """What the alias is on after the repair."""
    everything = found(*indices)
    on = {index.name: index.aliases["t-archive"] for index in indices if index.aliases}
    for action in alias_actions(ARCHIVE, everything, current):
        add = action["add"]
        on[add["index"]] = {"is_write_index": add["is_write_index"]}
    return on


def test_a_roll_over_that_was_half_done_is_completed_and_the_older_index_stays_readable():
    newest = archived(2, None)

    assert after([archived(1), newest], newest) == {
        "t-archive-000001": READ,
        "t-archive-000002": WRITE,
    }


def test_a_lost_alias_is_put_on_everything_that_roll_overs_made():
    newest = archived(3, None)

    assert after([archived(1, None), archived(2, None), newest], newest) == {
        "t-archive-000001": READ,
        "t-archive-000002": READ,
        "t-archive-000003": WRITE,
    }


def test_an_index_that_somebody_took_out_of_the_archive_stays_out():
    newest = archived(3, READ)

    assert after([archived(1, READ), archived(2, None), newest], newest) == {
        "t-archive-000001": READ,
        "t-archive-000003": WRITE,
    }


def test_of_several_written_indices_one_remains():
    newest = archived(3)

    assert after([archived(1), archived(2), newest], newest) == {
        "t-archive-000001": READ,
        "t-archive-000002": READ,
        "t-archive-000003": WRITE,
    }
