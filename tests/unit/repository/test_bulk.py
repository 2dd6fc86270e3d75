from __future__ import annotations

import asyncio

import pytest
from fakes import settle
from scripted import (
    an_operation,
    done,
    kinds,
    outcomes,
    refused,
    submit,
)

from tasques.domain.errors import (
    OverloadedError,
    ShuttingDownError,
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import Version
from tasques.repository.bulk import (
    OutcomeUnknownError,
    WriteConflictError,
)
from tasques.repository.connection import NoAnswerError

FLOOD = refused(429, "cluster_block_exception")
DEADLINE = 8.0


# ---------------------------------------------------------------------- batching


async def test_a_lone_write_is_sent_at_once(writer, connection):
    (waiting,) = submit(writer, "a")

    request = await connection.next()
    request.answer_items(done(seq_no=3))

    assert request.body == an_operation("a")
    assert "require_alias=true" in request.target
    assert await outcomes([waiting]) == [Version(3, 1)]


async def test_what_arrives_together_goes_together(writer, connection):
    submit(writer, "a", "b", "c")

    assert (await connection.next()).ids == ["a", "b", "c"]


async def test_what_arrives_while_all_slots_are_taken_goes_together_afterwards(writer, connection):
    for name in "abc":
        submit(writer, name, lane=Lane.CLAIM)
        await settle()
    submit(writer, "d", lane=Lane.CLAIM)
    await settle()
    submit(writer, "e", lane=Lane.CLAIM)
    await settle()
    assert [request.ids for request in connection.open] == [["a"], ["b"], ["c"]]

    connection.open[1].succeed()
    await settle()

    assert [request.ids for request in connection.open] == [["a"], ["c"], ["d", "e"]]


async def test_new_tasks_leave_a_slot_free_for_urgent_writes(writer, connection):
    for name in "abcd":
        submit(writer, name)
        await settle()
    assert [request.ids for request in connection.open] == [["a"], ["b"]]

    submit(writer, "done", lane=Lane.ACKNOWLEDGE)
    await settle()

    assert connection.open[-1].ids == ["done", "c", "d"]


async def test_a_request_has_at_most_so_many_operations(make_writer, connection):
    writer = make_writer(max_operations=2)
    submit(writer, *"abcde")
    await settle()

    assert [request.ids for request in connection.requests] == [["a", "b"], ["c", "d"]]


async def test_a_request_has_at_most_so_many_bytes(make_writer, connection):
    writer = make_writer(max_bytes=300)
    submit(writer, *"ab", size=200)
    await settle()

    assert [request.ids for request in connection.requests] == [["a"], ["b"]]


# ---------------------------------------------------------------------- results


async def test_each_caller_gets_the_result_of_its_own_item(writer, connection):
    waiting = submit(writer, *"abcde")

    (await connection.next()).answer_items(
        done(1),
        refused(409, "version_conflict_engine_exception"),
        done(2),
        refused(400, "document_parsing_exception"),
        done(3),
    )

    results = await outcomes(waiting)
    assert results[::2] == [Version(1, 1), Version(2, 1), Version(3, 1)]
    assert [type(results[1]), type(results[3])] == [WriteConflictError, StoreRejectedError]


async def test_a_conflict_is_not_tried_again(writer, connection, clock):
    waiting = submit(writer, "a")

    (await connection.next()).answer_items(refused(409))

    assert await kinds(waiting) == [WriteConflictError]
    await clock.advance(20)
    assert len(connection.requests) == 1


async def test_a_document_that_is_missing_is_a_conflict(writer, connection):
    waiting = submit(writer, "a")

    (await connection.next()).answer_items(refused(404, "document_missing_exception"))

    assert await kinds(waiting) == [WriteConflictError]


async def test_a_missing_alias_makes_the_store_unavailable(writer, connection):
    waiting = submit(writer, "a", "b")

    (await connection.next()).answer_items(refused(404, "index_not_found_exception"), done())

    assert await kinds(waiting) == [StoreUnavailableError, Version]


@pytest.mark.parametrize("item", [FLOOD, refused(403, "cluster_block_exception")])
async def test_a_blocked_index_is_told_at_once(writer, connection, clock, item):
    waiting = submit(writer, "a", "b")

    (await connection.next()).answer_items(item, done())

    assert await kinds(waiting) == [StoreBlockedError, Version]
    await clock.advance(20)
    assert len(connection.requests) == 1


async def test_without_a_master_writes_are_tried_again(writer, connection, clock):
    waiting = submit(writer, "a")
    blocked = {"error": {"type": "cluster_block_exception", "reason": "no master"}}

    (await connection.next()).answer(503, blocked)
    await clock.advance(0.1)
    (await connection.next()).succeed()

    assert await kinds(waiting) == [Version]


# ---------------------------------------------------------------------- several of one caller


def submit_all(writer, *names, lane=Lane.CREATE):
    bodies = [an_operation(name) for name in names]
    return asyncio.create_task(writer.submit_all(lane, bodies))


async def test_several_operations_of_a_caller_are_answered_each_for_itself(writer, connection):
    waiting = submit_all(writer, *"abc")

    (await connection.next()).answer_items(done(1), refused(409), done(2))

    (outcome,) = await outcomes([waiting])
    assert outcome[::2] == [Version(1, 1), Version(2, 1)]
    assert isinstance(outcome[1], WriteConflictError)


async def test_what_finds_no_room_does_not_fail_the_others(make_writer, connection):
    writer = make_writer(max_pending_operations=5)
    waiting = submit_all(writer, *"abcdef")

    (await connection.next()).succeed()

    (outcome,) = await outcomes([waiting])
    assert [type(each) for each in outcome] == [Version] * 4 + [OverloadedError] * 2


async def test_no_operations_are_answered_at_once(writer, connection):
    assert await outcomes([submit_all(writer)]) == [[]]
    assert connection.requests == []


async def test_a_caller_of_several_that_goes_breaks_nothing(writer, connection, caplog):
    gone = submit_all(writer, *"ab")
    stays = submit(writer, "c")
    request = await connection.next()

    gone.cancel()
    await settle()
    request.answer_items(done(), refused(400), done())

    assert await kinds(stays) == [Version]
    assert len(writer._pending) == 0


# ---------------------------------------------------------------------- overload


async def test_new_tasks_are_refused_first_and_answers_of_workers_last(make_writer, connection):
    writer = make_writer(max_pending_operations=10)
    waiting = submit(writer, *map(str, range(12)))
    assert await kinds(waiting) == [type(None)] * 8 + [OverloadedError] * 4

    waiting = submit(writer, *map(str, range(3)), lane=Lane.CLAIM)
    assert await kinds(waiting) == [type(None)] + [OverloadedError] * 2

    waiting = submit(writer, *map(str, range(3)), lane=Lane.ACKNOWLEDGE)
    assert await kinds(waiting) == [type(None)] + [OverloadedError] * 2


async def test_bytes_are_bounded_too(make_writer, connection):
    writer = make_writer(max_pending_bytes=1000)

    waiting = submit(writer, *"abc", size=450)

    assert await kinds(waiting) == [type(None), type(None), OverloadedError]


async def test_after_an_overload_there_is_room_again(make_writer, connection):
    writer = make_writer(max_pending_operations=10)
    submit(writer, *map(str, range(8)))
    (await connection.next()).succeed()
    await settle()

    waiting = submit(writer, "a")
    (await connection.next()).succeed()

    assert await kinds(waiting) == [Version]


async def test_while_elasticsearch_rejects_new_tasks_wait(writer, connection, clock):
    submit(writer, "a")
    (await connection.next()).answer_items(refused(429))
    await settle()

    submit(writer, "b")
    submit(writer, "done", lane=Lane.ACKNOWLEDGE)
    request = await connection.next()
    assert request.ids == ["done"]
    request.succeed()
    await clock.advance(0.04)
    assert connection.open == []
    await clock.advance(0.02)

    assert sorted(name for request in connection.open for name in request.ids) == ["a", "b"]


async def test_held_tasks_go_on_although_a_timer_fired_early(make_writer, connection, clock):
    writer = make_writer()
    submit(writer, "a", lane=Lane.CLAIM)
    (await connection.next()).answer_items(refused(429))
    waiting = submit(writer, "b")
    await settle()
    clock.monotonic = lambda: 0.0  # the clock seems to stand still
    await clock.advance(0.06)

    for request in connection.open:
        request.succeed()

    assert await kinds(waiting) == [Version]


# ---------------------------------------------------------------------- callers that go


async def test_a_caller_that_goes_takes_its_waiting_write_along(writer, connection):
    for name in "abc":
        submit(writer, name, lane=Lane.CLAIM)
        await settle()
    gone, stays = submit(writer, "gone", "stays", lane=Lane.CLAIM)
    await settle()

    gone.cancel()
    await settle()
    connection.open[0].succeed()
    await settle()

    assert connection.requests[-1].ids == ["stays"]
    connection.requests[-1].succeed()
    assert await kinds([stays]) == [Version]


@pytest.mark.parametrize("item", [done(), refused(409), refused(429), refused(400)])
async def test_a_caller_that_goes_while_its_request_is_under_way_breaks_nothing(
    writer, connection, clock, item
):
    gone, stays = submit(writer, "gone", "stays", lane=Lane.CLAIM)
    request = await connection.next()

    gone.cancel()
    await settle()
    request.answer_items(item, done())

    assert await kinds([stays]) == [Version]
    await clock.advance(20)
    assert len(connection.requests) == 1


# ---------------------------------------------------------------------- closing


async def test_closing_waits_for_what_was_submitted(writer, connection, clock):
    waiting = submit(writer, "a")
    request = await connection.next()
    closing = asyncio.create_task(writer.close(5))
    await clock.advance(1)
    assert not closing.done()

    request.succeed()
    await clock.advance(0.1)

    assert closing.done()
    assert await kinds(waiting) == [Version]


async def test_a_closing_writer_takes_nothing_more(writer, connection, clock):
    submit(writer, "a")
    await settle()
    closing = asyncio.create_task(writer.close(5))
    await settle()

    waiting = submit(writer, "b")

    assert await kinds(waiting) == [ShuttingDownError]
    await clock.advance(6)
    await closing


async def test_what_is_left_at_the_end_is_told_what_is_known(make_writer, connection, clock):
    writer = make_writer(max_in_flight=2)
    under_way = submit(writer, "under way")
    await settle()
    unsure = submit(writer, "unsure", lane=Lane.CLAIM)
    await settle()
    connection.open[1].fail(NoAnswerError("broken off"))
    await settle()
    rejected = submit(writer, "rejected", lane=Lane.CLAIM)
    await settle()
    connection.open[1].answer_items(refused(429))
    await settle()
    waits = submit(writer, "waits")
    await settle()
    closing = asyncio.create_task(writer.close(0.01))
    await clock.advance(0.02)

    await closing

    assert await kinds(under_way + unsure + rejected + waits) == [
        OutcomeUnknownError,
        OutcomeUnknownError,
        ShuttingDownError,
        ShuttingDownError,
    ]
    sent = len(connection.requests)
    await clock.advance(20)
    assert len(connection.requests) == sent


async def test_closing_may_be_broken_off(writer, connection, clock):
    waiting = submit(writer, "a")
    await settle()
    closing = asyncio.create_task(writer.close(5))
    await settle()

    closing.cancel()
    await asyncio.wait([closing])

    assert await kinds(waiting) == [OutcomeUnknownError]
