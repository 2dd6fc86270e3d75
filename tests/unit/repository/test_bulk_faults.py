from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest
from fakes import FakeClock, settle
from hypothesis import given
from hypothesis import strategies as st
from scripted import (
    Longest,
    ScriptedConnection,
    done,
    kinds,
    refused,
    respond_by,
    submit,
)

from tasques.domain.errors import (
    OverloadedError,
    StoreRejectedError,
    StoreUnavailableError,
    TooLargeError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import Version
from tasques.repository.bulk import (
    BulkWriter,
    OutcomeUnknownError,
    WriteLimits,
)
from tasques.repository.connection import NoAnswerError, NotSentError

FLOOD = refused(429, "cluster_block_exception")
DEADLINE = 8.0


# ---------------------------------------------------------------------- trying again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_only_items_that_failed_are_tried_again(writer, connection, clock, status):
    waiting = submit(writer, *"abcd")

    (await connection.next()).answer_items(done(), refused(status), done(), refused(status))
    assert await kinds(waiting) == [Version, type(None), Version, type(None)]
    await clock.advance(0.1)

    assert (await connection.next()).ids == ["b", "d"]
    connection.open[0].succeed()
    assert await kinds(waiting) == [Version] * 4


async def test_pauses_grow_to_a_second(writer, connection, clock):
    submit(writer, "a", lane=Lane.CLAIM)
    times = []

    def reject(request):
        times.append(clock.monotonic())
        request.answer_items(refused(429))

    connection.respond = reject
    await clock.advance(20)

    pauses = [round(later - earlier, 6) for earlier, later in pairwise(times)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 6]


async def test_pauses_differ(make_writer, connection, clock):
    respond_by(connection, lambda name: refused(429))
    writers = [make_writer(Random(seed)) for seed in range(20)]
    moments = set()
    for writer in writers:
        submit(writer, "a", lane=Lane.CLAIM)
    for _ in range(20):
        await clock.advance(0.0025)
        moments.add(len(connection.requests))

    assert len(moments) > 5  # not all at the same moment
    assert min(moments) == 20  # and none before half of the pause


@pytest.mark.parametrize(
    ("item", "error"), [(refused(429), StoreUnavailableError), (refused(503), OutcomeUnknownError)]
)
async def test_what_always_fails_ends_at_its_deadline(writer, connection, clock, item, error):
    waiting = submit(writer, "a")
    respond_by(connection, lambda name: item)

    await clock.advance(DEADLINE - 1.1)
    assert await kinds(waiting) == [type(None)]
    await clock.advance(1.1)

    assert await kinds(waiting) == [error]
    sent = len(connection.requests)
    await clock.advance(60)
    assert len(connection.requests) == sent


async def test_a_request_without_an_answer_is_sent_again_unchanged(writer, connection, clock):
    waiting = submit(writer, *"ab")

    first = await connection.next()
    first.fail(NoAnswerError("broken off"))
    await clock.advance(0.1)
    second = await connection.next()
    second.succeed()

    assert second.body == first.body
    assert await kinds(waiting) == [Version, Version]


async def test_what_is_never_answered_is_of_unknown_outcome(writer, connection, clock):
    waiting = submit(writer, *"ab")
    connection.respond = lambda request: request.fail(NoAnswerError("broken off"))

    await clock.advance(DEADLINE)

    assert await kinds(waiting) == [OutcomeUnknownError] * 2


async def test_what_was_never_sent_was_not_executed(writer, connection, clock):
    waiting = submit(writer, "a")
    connection.respond = lambda request: request.fail(NotSentError("connection refused"))

    await clock.advance(DEADLINE)

    assert await kinds(waiting) == [StoreUnavailableError]


@pytest.mark.parametrize("last", [429, 403, 400])
async def test_a_refusal_tells_nothing_of_an_earlier_try_without_an_answer(
    writer, connection, clock, last
):
    waiting = submit(writer, "a")
    (await connection.next()).fail(NoAnswerError("broken off"))
    respond_by(connection, lambda name: refused(last))

    await clock.advance(DEADLINE)

    assert await kinds(waiting) == [OutcomeUnknownError]


async def test_a_request_that_hangs_keeps_nobody_beyond_the_deadline(writer, connection, clock):
    sent = submit(writer, "sent")
    await settle()
    await clock.advance(1)
    later = submit(writer, "later")

    await clock.advance(DEADLINE - 1)
    assert await kinds(sent + later) == [OutcomeUnknownError, type(None)]
    await clock.advance(1)

    assert await kinds(later) == [OutcomeUnknownError]


async def test_what_waits_for_a_free_slot_waits_until_its_deadline(writer, connection, clock):
    for name in "abc":
        submit(writer, name, lane=Lane.CLAIM)
        await settle()
    waiting = submit(writer, "d", lane=Lane.CLAIM)

    await clock.advance(DEADLINE)
    assert await kinds(waiting) == [OverloadedError]
    for request in connection.open:
        request.succeed()
    await settle()

    assert len(connection.requests) == 3  # and is not sent afterwards


async def test_a_request_has_no_more_time_than_its_writes(make_writer, connection, clock):
    writer = make_writer(request_timeout=5.0)
    submit(writer, "a")
    first = await connection.next()
    await clock.advance(5)
    first.fail(NoAnswerError("too late"))
    await clock.advance(0.1)
    second = await connection.next()

    assert first.timeout == 5.0
    assert second.timeout == pytest.approx(DEADLINE - 5.05)


# ---------------------------------------------------------------------- answers of others


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome to the hotel</html>",
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"errors":false}',
        b'{"errors":false,"items":[]}',
        b'{"errors":false,"items":[{"create":{"_index":"i","_seq_no":1,"_primary_term":1}}]}',
        b'{"errors":false,"items":null}',
        b'{"errors":false,"items":[1,2]}',
    ],
)
async def test_a_strange_answer_is_like_none(writer, connection, clock, body):
    waiting = submit(writer, *"ab")

    (await connection.next()).answer(200, body)
    await clock.advance(0.1)
    (await connection.next()).succeed()

    assert await kinds(waiting) == [Version, Version]


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error":"text"}', b"\xff"])
@pytest.mark.parametrize("status", [302, 400, 401, 404, 413])
async def test_a_refusal_may_have_any_form(writer, connection, status, body):
    waiting = submit(writer, "a")

    (await connection.next()).answer(status, body)

    assert (await kinds(waiting))[0] in (
        StoreRejectedError,
        StoreUnavailableError,
        TooLargeError,
    )


async def test_an_item_of_a_wrong_form_leaves_nobody_waiting(writer, connection, caplog):
    waiting = submit(writer, *"ab")

    (await connection.next()).answer_items(done(), {"_index": "tasks-v1"})

    assert await kinds(waiting) == [Version, OutcomeUnknownError]
    assert [record.message for record in caplog.records] == ["background task failed"]
    waiting = submit(writer, "c")
    (await connection.next()).succeed()
    assert await kinds(waiting) == [Version]


# ---------------------------------------------------------------------- refused as a whole


@pytest.mark.parametrize(("status", "error"), [(400, StoreRejectedError), (413, TooLargeError)])
@given(culprits=st.sets(st.integers(0, 29), max_size=4))
async def test_a_refused_request_is_halved_until_the_culprit_stands_alone(status, error, culprits):
    connection, clock = ScriptedConnection(), FakeClock()
    writer = BulkWriter(connection, limits=WriteLimits(), clock=clock, random=Longest())
    bad = {f"{number}" for number in culprits}

    def respond(request):
        if bad.intersection(request.ids):
            request.answer(status, {"error": {"type": "x", "reason": "y"}, "status": status})
        else:
            request.succeed()

    connection.respond = respond
    waiting = submit(writer, *(f"{number}" for number in range(30)))
    await asyncio.wait(waiting)

    assert await kinds(waiting) == [
        error if number in culprits else Version for number in range(30)
    ]
    assert len(connection.requests) <= 1 + 10 * len(culprits)
    assert all(len(request.ids) == len(set(request.ids)) for request in connection.requests)
    await writer.close(0)


async def test_one_who_hides_a_culprit_by_its_size_stands_alone(writer, connection, clock):
    """What is over a tenth of the heap is rejected for ever, and with it all beside it."""

    def respond(request):
        if "big" in request.ids:
            request.answer(429, {"error": {"type": "es_rejected_execution_exception"}})
        else:
            request.succeed()

    connection.respond = respond
    waiting = submit(writer, *"abcdefg", "big", lane=Lane.CLAIM)

    await clock.advance(DEADLINE)

    assert await kinds(waiting) == [Version] * 7 + [StoreUnavailableError]


async def test_rejected_requests_do_not_multiply(writer, connection, clock):
    connection.respond = lambda request: request.answer(429, {"error": {"type": "too_many"}})
    waiting = submit(writer, *map(str, range(400)), lane=Lane.CLAIM)

    await clock.advance(DEADLINE)

    assert await kinds(waiting) == [StoreUnavailableError] * 400
    assert len(connection.requests) < 60


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_request_is_not_halved_for_nothing(writer, connection, status):
    waiting = submit(writer, *"abcd")

    (await connection.next()).answer(status, {"error": {"type": "security_exception"}})

    assert await kinds(waiting) == [StoreUnavailableError] * 4
    assert len(connection.requests) == 1


# ---------------------------------------------------------------------- all of it together


ITEMS = [done(), refused(409), refused(429), refused(503), refused(400), FLOOD]


@given(st.integers(0, 2**32))
async def test_whatever_happens_every_caller_is_answered_in_time(seed):
    """And at most once: what was answered is never sent again."""
    random = Random(seed)
    connection, clock = ScriptedConnection(), FakeClock()
    limits = WriteLimits(
        max_operations=4, max_bytes=2000, max_pending_operations=30, max_pending_bytes=9000
    )
    writer = BulkWriter(connection, limits=limits, clock=clock, random=Random(1))
    settled = set()

    def answer(request):
        assert not settled.intersection(request.ids)
        match random.randrange(10):
            case 0:
                request.fail(NoAnswerError(""))
            case 1:
                request.fail(NotSentError(""))
            case 2:
                request.answer(random.choice([400, 413, 429, 503]), b"no")
            case 3:
                request.answer(200, b"no")
            case 4:
                pass  # hangs
            case _:
                items = [random.choice(ITEMS) for _ in request.ids]
                settled.update(
                    name
                    for name, item in zip(request.ids, items, strict=True)
                    if item["status"] not in (429, 503) or item is FLOOD
                )
                request.answer_items(*items)

    connection.respond = answer
    waiting = []
    for number in range(random.randrange(1, 30)):
        lane = random.choice(list(Lane))
        waiting += submit(writer, f"{number}", lane=lane, size=random.randrange(600))
        if random.random() < 0.5:
            await clock.advance(random.uniform(0, 0.5))
        if random.random() < 0.1:
            waiting[-1].cancel()
    await clock.advance(DEADLINE)

    assert all(task.done() for task in waiting)
    assert (len(writer._pending), writer._pending_bytes) == (0, 0)
    await writer.close(0)
    assert not len(writer._tasks)
