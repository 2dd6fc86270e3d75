from __future__ import annotations

import asyncio
import logging

import pytest
from fakes import settle
from scripted import Longest, kinds, outcomes

from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreRejectedError,
    StoreUnavailableError,
)
from tasques.domain.task import Version
from tasques.repository.connection import NoAnswerError
from tasques.repository.reads import DocumentReader, Found

DEADLINE = 8.0


@pytest.fixture
async def reader(connection, clock):
    """A reader that is closed in the end, when all that it counted is zero again."""
    reader = DocumentReader(
        connection,
        clock=clock,
        random=Longest(),
        deadline=DEADLINE,
        request_timeout=5.0,
        max_pending=1000,
    )
    yield reader
    await reader.close()
    await settle()
    assert (len(reader._pending), reader._in_flight, len(reader._tasks)) == (0, 0, 0)


def get(reader, *names):
    reads = [asyncio.create_task(reader.get("tasks", name)) for name in names]
    for task in reads:
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return reads


def found(name, seq_no=7):
    return {
        "_index": "tasks-v1",
        "_id": name,
        "found": True,
        "_seq_no": seq_no,
        "_primary_term": 1,
        "_source": {"id": name},
    }


def missing(name):
    return {"_index": "tasks-v1", "_id": name, "found": False}


def broken(name, error_type):
    return {"_index": "tasks", "_id": name, "error": {"type": error_type, "reason": "r"}}


def answer(request, *documents):
    request.answer(200, {"docs": documents or [found(name) for name in request.ids]})


async def test_a_lone_read_is_sent_at_once(reader, connection):
    reads = get(reader, "a")

    answer(await connection.next(), found("a", seq_no=3))

    assert await outcomes(reads) == [Found({"id": "a"}, Version(3, 1))]


async def test_reads_that_arrive_together_go_together(reader, connection):
    reads = get(reader, "a", "b", "a")

    request = await connection.next()
    assert request.ids == ["a", "b", "a"]
    answer(request, found("a"), missing("b"), found("a"))

    assert [None if read is None else read.source for read in await outcomes(reads)] == [
        {"id": "a"},
        None,
        {"id": "a"},
    ]


async def test_a_read_never_shares_an_answer_that_was_asked_for_before_it(reader, connection):
    get(reader, "a")
    first = await connection.next()

    later = get(reader, "a")
    await settle()

    assert [request.ids for request in connection.requests] == [["a"], ["a"]]
    answer(first, found("a", seq_no=1))
    assert await kinds(later) == [type(None)]
    answer(connection.requests[1], found("a", seq_no=2))
    assert (await outcomes(later))[0].version == Version(2, 1)


async def test_three_requests_are_under_way_at_most(reader, connection):
    for name in "abcde":
        get(reader, name)
        await settle()
    assert [request.ids for request in connection.open] == [["a"], ["b"], ["c"]]

    answer(connection.open[0])
    await settle()

    assert [request.ids for request in connection.open] == [["b"], ["c"], ["d", "e"]]


async def test_a_request_asks_for_200_documents_at_most(reader, connection):
    get(reader, *map(str, range(450)))
    await settle()

    assert [len(request.ids) for request in connection.requests] == [200, 200, 50]


async def test_a_request_that_fails_is_tried_again_in_smaller_parts(reader, connection, clock):
    """Two hundred large documents may be too much for a circuit breaker, or for the time."""
    reads = get(reader, *map(str, range(200)))

    (await connection.next()).answer(429, {"error": {"type": "circuit_breaking_exception"}})
    await clock.advance(0.1)
    assert [len(request.ids) for request in connection.open] == [100, 100]
    for request in connection.open:
        answer(request)

    assert [read.source["id"] for read in await outcomes(reads)] == [*map(str, range(200))]


async def test_documents_whose_shard_is_not_there_are_tried_again(reader, connection, clock):
    reads = get(reader, *"abc")

    answer(
        await connection.next(),
        found("a"),
        broken("b", "no_shard_available_action_exception"),
        missing("c"),
    )
    assert await kinds(reads) == [Found, type(None), type(None)]
    assert [read.done() for read in reads] == [True, False, True]
    await clock.advance(0.1)
    request = await connection.next()
    assert request.ids == ["b"]
    answer(request)

    assert await kinds(reads) == [Found, Found, type(None)]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_request_that_is_rejected_is_tried_again(reader, connection, clock, status):
    reads = get(reader, "a")

    (await connection.next()).answer(status, b"<html>not now</html>")
    await clock.advance(0.1)
    answer(await connection.next())

    assert await kinds(reads) == [Found]


@pytest.mark.parametrize(
    "body",
    [b"<html>Hotel</html>", b"", b"[]", b"null", b"{}", b'{"docs":[]}', b'{"docs":7}'],
)
async def test_a_strange_answer_is_like_none(reader, connection, clock, body):
    reads = get(reader, "a")

    (await connection.next()).answer(200, body)
    await clock.advance(0.1)
    answer(await connection.next())

    assert await kinds(reads) == [Found]


async def test_a_document_of_a_wrong_form_leaves_nobody_waiting(reader, connection, caplog):
    reads = get(reader, "a", "b")

    answer(await connection.next(), found("a"), {"found": True})

    assert await kinds(reads) == [Found, StoreUnavailableError]
    assert [record.message for record in caplog.records] == ["background task failed"]


async def test_a_missing_index_is_no_missing_document(reader, connection, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        reads = get(reader, "a", "b")
        error = broken("a", "index_not_found_exception")
        answer(await connection.next(), error, error)
        assert await kinds(reads) == [StoreUnavailableError] * 2
    get(reader, "a")
    answer(await connection.next())
    await settle()

    assert [record.getMessage() for record in caplog.records] == [
        "Elasticsearch refuses reads",
        "Elasticsearch takes reads again",
    ]


@pytest.mark.parametrize(
    ("status", "error"), [(400, StoreRejectedError), (403, StoreUnavailableError)]
)
async def test_a_request_that_is_refused_is_not_tried_again(
    reader, connection, clock, status, error
):
    reads = get(reader, "a", "b")

    (await connection.next()).answer(status, b"no")

    assert await kinds(reads) == [error] * 2
    await clock.advance(20)
    assert len(connection.requests) == 1


async def test_what_is_never_answered_ends_at_its_deadline(reader, connection, clock):
    reads = get(reader, "a")
    connection.respond = lambda request: request.fail(NoAnswerError(""))

    await clock.advance(DEADLINE - 0.1)
    assert await kinds(reads) == [type(None)]
    await clock.advance(0.1)

    assert await kinds(reads) == [StoreUnavailableError]
    await clock.advance(1)
    sent = len(connection.requests)
    await clock.advance(20)
    assert len(connection.requests) == sent


async def test_a_request_that_hangs_keeps_nobody_beyond_the_deadline(reader, connection, clock):
    for name in "abc":
        get(reader, name)
        await settle()
    reads = get(reader, "d")

    await clock.advance(DEADLINE)

    assert await kinds(reads) == [StoreUnavailableError]


async def test_a_caller_that_goes_breaks_nothing(reader, connection, clock):
    gone, stays = get(reader, "gone", "stays")
    request = await connection.next()

    gone.cancel()
    await settle()
    answer(request)

    assert await kinds([stays]) == [Found]


async def test_a_caller_that_goes_takes_its_waiting_read_along(reader, connection):
    for name in "abc":
        get(reader, name)
        await settle()
    gone, _ = get(reader, "gone", "stays")
    await settle()

    gone.cancel()
    await settle()
    answer(connection.open[0])
    await settle()

    assert connection.requests[-1].ids == ["stays"]


async def test_reads_that_wait_are_bounded(reader, connection):
    reads = get(reader, *map(str, range(1001)))
    await settle()

    assert [type(outcome) for outcome in (await outcomes(reads))[-2:]] == [
        type(None),
        OverloadedError,
    ]


async def test_closing_leaves_nobody_waiting(reader, connection, clock):
    under_way = get(reader, "a")
    (await connection.next()).answer(503, b"")
    paused = get(reader, "b")
    await settle()

    await reader.close()

    assert await kinds(under_way + paused) == [ShuttingDownError] * 2
    assert await kinds(get(reader, "c")) == [ShuttingDownError]
    sent = len(connection.requests)
    await clock.advance(20)
    assert len(connection.requests) == sent
