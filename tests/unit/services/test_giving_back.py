from __future__ import annotations

from random import Random

import pytest
from factories import START, a_task
from fakes import FakeClock, InMemoryTaskRepository, Operation, settle

from tasques.background_tasks import BackgroundTasks
from tasques.domain.errors import StoreUnavailableError, UnresolvedWriteError
from tasques.domain.ports import Lane
from tasques.services.giving_back import Claimed, GivingBack


class Desk:
    """Undoes claims."""

    def __init__(self):
        self.tasks = InMemoryTaskRepository()
        self.clock = FakeClock()
        self.background = BackgroundTasks()
        self.given_back = []
        self.giving_back = GivingBack(
            tasks=self.tasks, clock=self.clock, random=Random(1), background=self.background
        )

    def claimed(self, claim_id="claim-1"):
        """A claim that took place."""
        before = self.tasks.store(a_task())
        claim = before.claim(worker_id="worker-1", at=START, claim_id=claim_id)
        return Claimed(self.tasks.store(claim), before)

    def start(self, claimed):
        self.giving_back.start(claimed, self.given_back.append)

    def is_as_before(self, claimed):
        (stored,) = self.tasks.stored
        return stored._replace(version=None) == claimed.before._replace(version=None)


@pytest.fixture
async def desk():
    """Undoes claims over a repository in memory."""
    desk = Desk()
    yield desk
    await desk.background.drain(0)


def of_unknown_fate(claimed):
    return Claimed(claimed.task._replace(version=None), claimed.before)


async def test_a_task_is_written_back_as_it_was_by_one_urgent_write(desk):
    claimed = desk.claimed()

    desk.start(claimed)
    await settle()

    assert desk.is_as_before(claimed)
    assert [lane for _, lane in desk.tasks.writes] == [Lane.ACKNOWLEDGE]
    assert desk.given_back == desk.tasks.stored
    assert desk.tasks.calls == {Operation.UPDATE: 1}
    assert len(desk.background) == 0


async def test_a_claim_that_did_not_take_place_can_not_take_place_later(desk):
    before = desk.tasks.store(a_task())
    claim = before.claim(worker_id="worker-1", at=START, claim_id="claim-1")

    desk.start(Claimed(claim._replace(version=None), before))
    await settle()

    assert desk.is_as_before(Claimed(claim, before))
    assert desk.tasks.stored[0].version != before.version
    assert desk.given_back == desk.tasks.stored


async def test_a_claim_of_unknown_fate_that_took_place_is_undone(desk):
    claimed = desk.claimed()

    desk.start(of_unknown_fate(claimed))
    await settle()

    assert desk.is_as_before(claimed)
    assert desk.given_back == desk.tasks.stored
    assert desk.tasks.calls == {Operation.UPDATE: 2, Operation.GET: 1}


async def test_a_report_in_between_does_not_keep_the_claim(desk):
    claimed = desk.claimed()
    desk.tasks.store(claimed.task.report(worker_id="worker-1", at=START, data=None))

    desk.start(claimed)
    await settle()

    assert desk.is_as_before(claimed)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda task: task.complete(worker_id="worker-1", at=START, success=None),
        lambda task: task.unclaim(worker_id="worker-1", at=START),
        lambda task: task.unclaim(worker_id="worker-1", at=START).claim(
            worker_id="worker-1", at=START, claim_id="claim-2"
        ),
    ],
    ids=["done", "unclaimed", "claimed again"],
)
async def test_a_task_that_is_no_longer_in_this_claim_is_left_alone(desk, meanwhile):
    claimed = desk.claimed()
    stored = desk.tasks.store(meanwhile(claimed.task))

    desk.start(claimed)
    desk.start(of_unknown_fate(claimed))
    await settle()

    assert desk.tasks.stored == [stored]
    assert desk.given_back == []
    assert len(desk.background) == 0


async def test_a_task_that_is_gone_is_left_alone(desk, caplog):
    claimed = desk.claimed()
    desk.tasks.remove("mail", "task-1")

    desk.start(claimed)
    await settle()

    assert len(desk.background) == 0
    assert not caplog.records


async def test_a_task_that_can_not_be_read_is_left_alone(desk):
    claimed = desk.claimed()
    desk.tasks.store(claimed.task._replace(kind="other"))
    desk.tasks.break_document("mail", "task-1")

    desk.start(claimed)
    await settle()

    assert desk.given_back == []
    assert len(desk.background) == 0


@pytest.mark.parametrize("failures", [1, 5])
@pytest.mark.parametrize("of", [Operation.UPDATE, Operation.GET])
async def test_it_is_tried_again_while_the_store_is_away(desk, of, failures):
    claimed = desk.claimed()
    for _ in range(failures):
        desk.tasks.fail_next(StoreUnavailableError("down"), of=of)

    desk.start(of_unknown_fate(claimed))
    await settle()
    assert not desk.is_as_before(claimed)
    assert desk.clock.sleepers == 1
    await desk.clock.advance(30)

    assert desk.is_as_before(claimed)
    assert desk.given_back == desk.tasks.stored


async def test_a_write_back_whose_answer_was_lost_is_not_repeated(desk):
    claimed = desk.claimed()
    error = UnresolvedWriteError("mail", "task-1")
    desk.tasks.fail_next(error, of=Operation.UPDATE, landed=True)

    desk.start(claimed)
    await desk.clock.advance(30)

    assert desk.is_as_before(claimed)
    assert len(desk.tasks.writes) == 1
    assert len(desk.background) == 0


async def test_in_the_end_the_claim_is_left_to_its_timeout(desk, caplog):
    claimed = desk.claimed()
    for _ in range(100):
        desk.tasks.fail_next(StoreUnavailableError("down"), of=Operation.UPDATE)

    desk.start(claimed)
    await desk.clock.advance(20)
    assert len(desk.background) == 1
    await desk.clock.advance(60)

    assert len(desk.background) == 0
    assert desk.tasks.stored == [claimed.task]
    assert [record.message for record in caplog.records] == [
        "a claim could not be undone: its timeout will end it"
    ]
    assert caplog.records[0].task_id == "task-1"
    assert 5 <= desk.tasks.calls[Operation.UPDATE] <= 30
