from __future__ import annotations

import asyncio

from fakes import settle
from scripted import an_operation, done, refused

from tasques.domain.errors import NotLeadingError
from tasques.domain.ports import Lane
from tasques.repository.connection import NoAnswerError
from tasques.repository.writes import OutcomeUnknownError


class Leader:
    """Leads until it is told that it does not."""

    def __init__(self):
        self.leads = True

    def may_write(self):
        return self.leads


def begin(writer, leader, *names):
    bodies = [an_operation(name) for name in names]
    return asyncio.create_task(writer.submit_all(Lane.CLAIM, bodies, may_write=leader.may_write))


async def test_a_leader_s_writes_are_sent(make_writer, connection):
    writing = begin(make_writer(), Leader(), "a", "b")

    (await connection.next()).succeed()

    assert len(await writing) == 2


async def test_what_waits_when_the_lead_is_lost_is_not_sent(make_writer, connection):
    leader = Leader()
    writing = begin(make_writer(), leader, "a")
    leader.leads = False
    await settle()

    assert [type(outcome) for outcome in await writing] == [NotLeadingError]
    assert connection.requests == []


async def test_what_was_rejected_is_not_tried_again_after_the_lead_is_lost(
    make_writer, connection, clock
):
    leader = Leader()
    writing = begin(make_writer(), leader, "a", "b")
    (await connection.next()).answer_items(refused(429), done())
    leader.leads = False
    await clock.advance(5)

    first, second = await writing
    assert isinstance(first, NotLeadingError)
    assert not isinstance(second, Exception)
    assert len(connection.requests) == 1


async def test_what_was_perhaps_executed_stays_unknown(make_writer, connection, clock):
    leader = Leader()
    writing = begin(make_writer(), leader, "a")
    (await connection.next()).fail(NoAnswerError("lost"))
    leader.leads = False
    await clock.advance(5)

    assert [type(outcome) for outcome in await writing] == [OutcomeUnknownError]


async def test_others_writes_in_the_same_request_go_on(make_writer, connection):
    leader = Leader()
    leader.leads = False
    writer = make_writer()
    deposed = begin(writer, leader, "a")
    worker = asyncio.create_task(writer.submit(Lane.CLAIM, an_operation("b")))

    (await connection.next()).succeed()

    assert [type(outcome) for outcome in await deposed] == [NotLeadingError]
    assert (await worker).seq_no == 7
