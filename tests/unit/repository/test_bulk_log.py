from __future__ import annotations

import logging

from fakes import settle
from scripted import (
    done,
    outcomes,
    refused,
    respond_by,
    submit,
)

from tasques.domain.ports import Lane

FLOOD = refused(429, "cluster_block_exception")
DEADLINE = 8.0


def changes(caplog):
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.startswith("tasques")
    ]


# ---------------------------------------------------------------------- the log


async def test_a_storm_of_rejections_makes_two_lines(writer, connection, clock, caplog):
    caplog.set_level(logging.INFO)
    respond_by(connection, lambda name: refused(429))
    for number in range(20):
        submit(writer, f"{number}", lane=Lane(number % 3))
        await clock.advance(0.2)
    respond_by(connection, lambda name: done())
    submit(writer, "a")
    await clock.advance(6)
    submit(writer, *"bc")
    await settle()

    assert changes(caplog) == [
        ("WARNING", "Elasticsearch rejects writes"),
        ("INFO", "Elasticsearch takes writes again"),
    ]


async def test_a_blocked_index_makes_two_lines(writer, connection, clock, caplog):
    caplog.set_level(logging.INFO)
    respond_by(connection, lambda name: FLOOD if name.startswith("x") else done_in("other-v1"))
    for number in range(5):
        submit(writer, f"x{number}", f"y{number}")
        await settle()
    respond_by(connection, lambda name: done())
    submit(writer, "a")
    await settle()

    assert changes(caplog) == [
        ("ERROR", "Elasticsearch refuses writes"),
        ("INFO", "Elasticsearch takes writes again"),
    ]
    record = caplog.records[0]
    assert (record.index, record.error_type) == ("tasks-v1", "cluster_block_exception")


def done_in(index):
    return {**done(), "_index": index}


async def test_the_reason_of_a_refusal_is_logged_for_each_document(writer, connection, caplog):
    respond_by(connection, lambda name: refused(400, f"{name}_exception"))
    waiting = submit(writer, *"ab")
    await settle()

    assert [record.reason for record in caplog.records] == [
        "because of a_exception",
        "because of b_exception",
    ]
    assert not any("because" in str(error) for error in await outcomes(waiting))
