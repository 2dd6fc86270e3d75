from __future__ import annotations

from collections import Counter

import pytest
from fakes import settle
from scripted import Longest, done, kinds, refused, submit

from tasques.repository.bulk import BulkWriter, WriteConflictError, WriteLimits
from tasques.repository.connection import NoAnswerError, NotSentError


class Observer:
    def __init__(self):
        self.requests = []
        self.results = Counter()

    def answered(self, status, seconds, *, operations, repeated):
        self.requests.append((status, seconds, operations, repeated))

    def settled(self, result, count):
        self.results[str(result)] += count


@pytest.fixture
def observer():
    return Observer()


@pytest.fixture
async def writer(connection, clock, observer):
    writer = BulkWriter(
        connection, limits=WriteLimits(), clock=clock, random=Longest(), observer=observer
    )
    yield writer
    await writer.close(0)
    await settle()


async def test_each_request_is_told_with_its_time_and_size(writer, connection, clock, observer):
    submit(writer, "a", "b", "c")
    request = await connection.next()
    await clock.advance(0.25)
    request.succeed()
    await settle()

    assert observer.requests == [(200, 0.25, 3, 0)]
    assert observer.results == {"done": 3}


async def test_results_are_told_for_each_write_and_each_time(writer, connection, clock, observer):
    waiting = submit(writer, "good", "taken", "busy", "broken", "wrong")
    request = await connection.next()
    request.answer_items(done(), refused(409), refused(429), refused(503), refused(400))
    assert (await kinds(waiting))[1] is WriteConflictError
    assert observer.results == {"done": 1, "conflict": 1, "rejected": 1, "failed": 1, "refused": 1}

    await clock.advance(1.0)
    for again in connection.open:
        again.succeed()
    await settle()

    assert observer.results["done"] == 3
    assert sum(operations for _, _, operations, _ in observer.requests) == 7
    assert sum(repeated for *_, repeated in observer.requests) == 2


@pytest.mark.parametrize("error", [NoAnswerError("lost"), NotSentError("away")])
async def test_a_request_without_an_answer_is_told(writer, connection, clock, observer, error):
    submit(writer, "a", "b")
    (await connection.next()).fail(error)
    await clock.advance(1.0)
    (await connection.next()).succeed()
    await settle()

    assert [(status, repeated) for status, _, _, repeated in observer.requests] == [
        (None, 0),
        (200, 2),
    ]
    assert observer.results == {"failed": 2, "done": 2}


@pytest.mark.parametrize(
    ("status", "result"), [(429, "rejected"), (503, "failed"), (401, "refused"), (200, "failed")]
)
async def test_a_refusal_of_the_whole_is_one_of_each(writer, connection, observer, status, result):
    submit(writer, "a", "b")
    (await connection.next()).answer(status, {"error": {"type": "x", "reason": "y"}})
    await settle()

    assert observer.requests == [(status, 0.0, 2, 0)]
    assert observer.results == {result: 2}


async def test_what_is_sent_in_halves_is_settled_once(writer, connection, observer):
    submit(writer, "a", "b")
    (await connection.next()).answer(413, {"error": {"type": "x", "reason": "y"}})
    (await connection.next()).succeed()
    (await connection.next()).succeed()
    await settle()

    assert [(status, repeated) for status, _, _, repeated in observer.requests] == [
        (413, 0),
        (200, 1),
        (200, 1),
    ]
    assert observer.results == {"done": 2}
