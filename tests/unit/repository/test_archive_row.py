from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scripted import ScriptedConnection

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.archive_row import read_row

DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def an_index(day, **alias):
    """An index that was made on that day."""
    made = int((FIRST + day * DAY).timestamp() * 1000)
    return {"aliases": {"archive": alias}, "settings": {"index": {"creation_date": str(made)}}}


async def row_of(indices, status=200):
    connection = ScriptedConnection()
    connection.respond = lambda request: request.answer(status, indices)
    return await read_row(connection, "archive", timeout=1)


async def three():
    return await row_of(
        {
            "archive-000010": an_index(2, is_write_index=True),
            "archive-000009": an_index(1, is_write_index=False),
            "archive-000008": an_index(0),
        }
    )


async def test_the_written_index_is_the_last_and_the_others_go_by_their_numbers():
    row = await three()

    assert [index.name[-2:] for index in row.indices] == ["08", "09", "10"]
    assert row.written.name == "archive-000010"
    assert row.position("archive-000009") == 1
    assert row.position("unknown") == 3


@pytest.mark.parametrize(
    ("finished", "names"),
    [
        (timedelta(days=3), ["10"]),
        (timedelta(days=2, minutes=2), ["10"]),
        (timedelta(days=2, seconds=30), ["09", "10"]),
        (timedelta(days=1, minutes=2), ["09", "10"]),
        (timedelta(days=1), ["08", "09", "10"]),
        (timedelta(days=-9), ["08", "09", "10"]),
    ],
)
async def test_a_task_may_be_where_was_written_after_it_was_finished(finished, names):
    row = await three()

    assert [name[-2:] for name in row.may_hold(FIRST + finished)] == names


async def test_an_index_that_a_lifecycle_shrank_keeps_its_place():
    row = await row_of(
        {
            "archive-000003": an_index(2, is_write_index=True),
            "archive-000002": an_index(1),
            "shrink-x1y2-archive-000001": an_index(5),
        }
    )

    assert row.position("shrink-x1y2-archive-000001") == 0


async def test_a_lone_index_is_written_unless_it_says_no():
    assert (await row_of({"archive-000001": an_index(0)})).written.name == "archive-000001"
    with pytest.raises(StoreUnavailableError, match="writes nowhere"):
        await row_of({"archive-000001": an_index(0, is_write_index=False)})


async def test_an_index_with_a_policy_is_rolled_over_by_it():
    index = an_index(0)
    index["settings"]["index"]["lifecycle"] = {"name": "keep"}

    assert (await row_of({"archive-000001": index})).written.has_lifecycle
    assert not (await three()).written.has_lifecycle


async def test_an_index_that_has_the_name_of_the_alias_is_no_archive():
    index = an_index(0)
    index["aliases"] = {}

    with pytest.raises(StoreUnavailableError, match="writes nowhere"):
        await row_of({"archive": index})


async def test_a_missing_alias_is_said_to_be_missing():
    with pytest.raises(StoreUnavailableError, match="alias archive is missing: run"):
        await row_of({"error": {"type": "index_not_found_exception"}}, status=404)
