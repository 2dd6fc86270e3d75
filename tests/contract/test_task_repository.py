"""What every `TaskRepository` promises, the one in memory included."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from factories import START, a_claimed_task, a_task
from fakes import InMemoryTaskRepository

from tasques.domain.claim_rank import claim_rank
from tasques.domain.errors import (
    TaskAlreadyExistsError,
    TaskNotFoundError,
    VersionConflictError,
)
from tasques.domain.ports import ClaimSearch, Lane
from tasques.domain.task import Claim, JsonText, Report, Result, Task, TaskState, Version

SECOND: Final = timedelta(seconds=1)
MILLISECOND: Final = timedelta(milliseconds=1)
LATER: Final = START + timedelta(minutes=5)
NEVER_WRITTEN: Final = Version(10_000, 1)
LONGEST_TIMEOUT: Final = timedelta(microseconds=(2**63 - 1) // 1000)

HOSTILE_IDS: Final = [
    "a:b",
    ":",
    "0",
    "A",
    "a",
    " ",
    "a b",
    "a/b",
    "a?b#c&d=e",
    "%2F",
    "*",
    "a,b",
    "_id",
    'say "hi"',
    "back\\slash",
    "line\nbreak\r\n",
    "\x00\x1f\x7f",
    "{}",
    "\u2028",
    "caf\u00e9",
    "cafe\u0301",
    "\U0001f600",
    "x" * 360,
    "\u00e9" * 180,
]

ANSWER: Final = JsonText(
    '{"integer":123456789012345678901234567890,"decimal":1.10,"exponent":1e400,'
    '"twice":1,"twice":2,"text":"caf\u00e9 \U0001f600 \\n \\u0000 \u2028",'
    '"empty":{},"null":null,"list":[[],{}]}'
)
DEEP: Final = JsonText('{"a":' * 2000 + "1" + "}" * 2000)
BIG: Final = JsonText(json.dumps({"text": "\u00fc" * 500_000}, ensure_ascii=False))


def with_every_member() -> Task:
    return Task(
        id="task-1",
        queue="mail",
        kind="send \u2709",
        state=TaskState.CLAIMED,
        priority=-7,
        retry_times=25,
        attempted=3,
        processing_timeout=timedelta(minutes=1, microseconds=1),
        run_at=datetime.fromisoformat("2026-02-28T23:59:59.123456+09:30"),
        last_enqueued_at=START - 3 * SECOND,
        created_at=START - 4 * SECOND,
        modified_at=START + timedelta(microseconds=7),
        incarnation="incarnation-of-22-char",
        args=ANSWER,
        context=JsonText("{}"),
        last_claimed=Claim(
            worker_id="worker \u4e2d",
            claimed_at=START - SECOND,
            times_out_at=START + SECOND,
            claim_id="claim-of-22-characters",
            last_report=Report(at=START, data=ANSWER),
            result=Result(at=START + MILLISECOND, success=None, failure=ANSWER),
        ),
        recurring_task_id="nightly:\u00e9",
        scheduled_for=START - SECOND,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        unknown_members={"from_tomorrow": {"colour": "blue", "sizes": [1, 2.5, None]}},
    )


OF_EVERY_KIND: Final = {
    "every member": with_every_member(),
    "no optional member": a_task(),
    "a result without data": a_claimed_task().complete(
        worker_id="worker-1", at=LATER, success=None
    ),
    "a success": a_claimed_task().complete(worker_id="worker-1", at=LATER, success=ANSWER),
    "a dead task": a_claimed_task(retry_times=0).time_out(at=LATER, retry_at=LATER),
    "a failed task": a_claimed_task().fail(
        worker_id="worker-1", at=LATER, failure=JsonText("{}"), retry_at=LATER
    ),
    "a report without data": a_claimed_task().report(worker_id="worker-1", at=LATER, data=None),
    "a claim of an older server": a_claimed_task(
        last_claimed=Claim(worker_id="w", claimed_at=START, times_out_at=LATER)
    ),
    "a big text": a_task(args=BIG, context=BIG),
    "a deep text": a_task(args=DEEP),
    "a deep failure": a_claimed_task().fail(
        worker_id="worker-1", at=LATER, failure=DEEP, retry_at=LATER
    ),
    "the smallest numbers": a_task(
        priority=-(2**63), retry_times=0, processing_timeout=-LONGEST_TIMEOUT
    ),
    "the largest numbers": a_task(
        priority=2**63 - 1, retry_times=2**31 - 1, processing_timeout=LONGEST_TIMEOUT
    ),
    "no time": a_task(processing_timeout=timedelta(0)),
    "the first instant": a_task(run_at=datetime(1, 1, 1, tzinfo=UTC)),
    "before the first instant": a_task(run_at=datetime.fromisoformat("0001-01-01T00:00:00+14:00")),
    "before 1970": a_task(run_at=datetime(1880, 1, 1, tzinfo=UTC)),
    "the last instant": a_task(run_at=datetime.max.replace(tzinfo=UTC)),
    "after the last instant": a_task(
        run_at=datetime.fromisoformat("9999-12-31T23:59:59.999999-12:00")
    ),
}
TASKS: Final = [task._replace(id=kind) for kind, task in OF_EVERY_KIND.items()]


@pytest.fixture(params=["memory", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def tasks(request):
    if request.param == "memory":
        return InMemoryTaskRepository()
    return request.getfixturevalue("elasticsearch_repository")


def a_search(*queues, due_at=START, size=100, from_rank=None) -> ClaimSearch:
    return ClaimSearch(queues=queues, due_at=due_at, size=size, from_rank=from_rank)


async def ids_found(tasks, *searches: ClaimSearch) -> list[list[str]]:
    return [
        [candidate.task_id for candidate in found]
        for found in await tasks.search_claimable(searches)
    ]


async def create_all(tasks, *new: Task) -> list[Task]:
    return await asyncio.gather(*(tasks.create(task) for task in new))


def claimed_by(worker_id: str, task: Task) -> Task:
    return task.claim(worker_id=worker_id, at=LATER, claim_id=f"claim of {worker_id}")


# ------------------------------------------------------------------ create and get


async def test_a_task_is_read_as_it_was_created(tasks):
    """Every member of a task survives its creation, to the last character and microsecond."""
    for task in TASKS:
        created = await tasks.create(task)
        read = await tasks.get(task.queue, task.id)

        assert created.version is not None
        assert created == task._replace(version=created.version)
        assert read == created
        assert read.run_at.utcoffset() == task.run_at.utcoffset()
        assert read.modified_at.utcoffset() == timedelta(0)


async def test_a_task_is_read_as_it_was_updated(tasks):
    """An update writes every member, and leaves none of what was there before."""
    for task in TASKS:
        before = await tasks.create(
            with_every_member()._replace(id=task.id, incarnation=task.incarnation)
        )

        updated = await tasks.update(task._replace(version=before.version), Lane.ACKNOWLEDGE)
        read = await tasks.get(task.queue, task.id)

        assert updated.version not in {None, before.version}
        assert updated == task._replace(version=updated.version)
        assert read == updated


async def test_a_task_is_read_at_once(tasks):
    """A read shows every write that was answered, however long ago the last refresh was."""
    await tasks.refresh()
    task = await tasks.create(a_task())

    for attempt in range(3):
        task = await tasks.update(
            task._replace(attempted=attempt, modified_at=START + attempt * SECOND), Lane.CLAIM
        )
        assert await tasks.get("mail", "task-1") == task


async def test_an_id_is_taken_once(tasks):
    """A second task of the same id is refused, and the first stays as it was."""
    first = await tasks.create(a_task(kind="first"))

    with pytest.raises(TaskAlreadyExistsError) as caught:
        await tasks.create(a_task(kind="second"))

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    assert await tasks.get("mail", "task-1") == first


async def test_an_id_stays_taken_when_its_task_is_done(tasks):
    """Whatever became of a task, its id is not given away."""
    claimed = await tasks.create(a_claimed_task())
    done = await tasks.update(
        claimed.complete(worker_id="worker-1", at=LATER, success=None), Lane.ACKNOWLEDGE
    )

    with pytest.raises(TaskAlreadyExistsError):
        await tasks.create(a_task())

    assert await tasks.get("mail", "task-1") == done


async def test_of_many_who_want_an_id_one_gets_it(tasks):
    """Of simultaneous creations with one id a single one succeeds, and that is what is stored."""
    outcomes = await asyncio.gather(
        *(tasks.create(a_task(kind=f"kind {number}")) for number in range(20)),
        return_exceptions=True,
    )

    created = [outcome for outcome in outcomes if isinstance(outcome, Task)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, TaskAlreadyExistsError)]
    assert (len(created), len(refused)) == (1, 19)
    assert await tasks.get("mail", "task-1") == created[0]


async def test_a_creation_that_is_repeated_is_not_refused(tasks):
    """The same creation again is told what became of the task, not that the id is taken."""
    task = a_task()
    created = await tasks.create(task)
    assert await tasks.create(task) == created

    claimed = await tasks.update(claimed_by("worker-1", created), Lane.CLAIM)
    assert await tasks.create(task) == claimed
    assert await tasks.get("mail", "task-1") == claimed


async def test_an_id_can_be_used_in_every_queue(tasks):
    """Queues do not share ids, not even where queue and id could run into one another."""
    names = [("a", "b"), ("b", "b"), ("a", "a"), ("a", ":b"), ("a", "b:"), ("aa", "b"), ("a", "ab")]

    created = await create_all(tasks, *(a_task(queue=queue, id=id_) for queue, id_ in names))

    for (queue, id_), task in zip(names, created, strict=True):
        assert (task.queue, task.id) == (queue, id_)
        assert await tasks.get(queue, id_) == task


async def test_hostile_ids_are_kept_apart_and_as_they_are(tasks):
    """An id may have any character; what means something to a protocol or an editor too."""
    created = await create_all(tasks, *(a_task(id=id_) for id_ in HOSTILE_IDS))
    await tasks.refresh()

    assert len({(task.queue, task.id) for task in created}) == len(HOSTILE_IDS)
    for id_, task in zip(HOSTILE_IDS, created, strict=True):
        assert await tasks.get("mail", id_) == task
    (found,) = await tasks.search_claimable([a_search("mail")])
    assert {candidate.task_id for candidate in found} == set(HOSTILE_IDS)
    for candidate in found:
        taken = await tasks.update(claimed_by("worker-1", candidate.task()), Lane.CLAIM)
        assert taken.id == candidate.task_id


async def test_the_longest_names_can_be_stored(tasks):
    """A queue and an id of the greatest length make a task like any other."""
    task = await tasks.create(a_task(queue="\u00e9" * 64, id="x" * 360))

    assert await tasks.get("\u00e9" * 64, "x" * 360) == task


async def test_a_task_that_was_never_created_is_not_found(tasks):
    """A read of an unknown id, of a known id in another queue, or of an unknown queue says so."""
    await tasks.create(a_task())

    for queue, task_id in [("mail", "task-2"), ("other", "task-1"), ("mail", "task-1 ")]:
        with pytest.raises(TaskNotFoundError) as caught:
            await tasks.get(queue, task_id)
        assert (caught.value.queue, caught.value.task_id) == (queue, task_id)


async def test_answers_belong_to_those_who_asked(tasks):
    """However many ask at once, each gets the answer to its own question."""
    await create_all(tasks, *(a_task(id=f"{number}") for number in range(0, 60, 2)))

    created = await asyncio.gather(
        *(tasks.create(a_task(id=f"{number}")) for number in range(60)), return_exceptions=True
    )
    read = await asyncio.gather(
        *(tasks.get("mail", f"{number}") for number in range(-1, 60)), return_exceptions=True
    )

    for number, outcome in enumerate(created):
        assert isinstance(outcome, Task if number % 2 else TaskAlreadyExistsError)
        assert getattr(outcome, "id", None) or outcome.task_id == f"{number}"
    assert isinstance(read[0], TaskNotFoundError)
    assert [task.id for task in read[1:]] == [f"{number}" for number in range(60)]


# ------------------------------------------------------------------ update


@pytest.mark.parametrize("lane", list(Lane))
async def test_an_update_gives_the_version_for_the_next_one(tasks, lane):
    """Who wrote last may write again, in every lane, without reading in between."""
    created = await tasks.create(a_task())
    claimed = await tasks.update(claimed_by("worker-1", created), lane)
    done = await tasks.update(claimed.complete(worker_id="worker-1", at=LATER, success=None), lane)

    assert len({created.version, claimed.version, done.version}) == 3
    assert await tasks.get("mail", "task-1") == done


async def test_an_update_from_an_old_read_is_refused(tasks):
    """A write that rests on a version which is not the stored one changes nothing."""
    read = await tasks.create(a_task())
    written = await tasks.update(claimed_by("worker-1", read), Lane.CLAIM)

    with pytest.raises(VersionConflictError) as caught:
        await tasks.update(claimed_by("worker-2", read), Lane.CLAIM)

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    assert await tasks.get("mail", "task-1") == written


async def test_an_update_with_what_is_there_already_is_refused_too(tasks):
    """That another writer wrote the very same does not make an old read a new one."""
    read = await tasks.create(a_task())
    written = await tasks.update(claimed_by("worker-1", read), Lane.CLAIM)

    with pytest.raises(VersionConflictError):
        await tasks.update(claimed_by("worker-1", read), Lane.CLAIM)

    assert await tasks.get("mail", "task-1") == written


async def test_an_update_from_a_version_that_is_yet_to_come_is_refused(tasks):
    """A version must match; to be greater is not enough."""
    task = await tasks.create(a_task())

    with pytest.raises(VersionConflictError):
        await tasks.update(task._replace(version=NEVER_WRITTEN), Lane.CLAIM)

    assert await tasks.get("mail", "task-1") == task


async def test_an_update_of_another_primary_term_is_refused(tasks):
    """Both parts of a version must match."""
    task = await tasks.create(a_task())
    other = Version(task.version.seq_no, task.version.primary_term + 1)

    with pytest.raises(VersionConflictError):
        await tasks.update(task._replace(version=other), Lane.CLAIM)

    assert await tasks.get("mail", "task-1") == task


async def test_an_update_does_not_create(tasks):
    """A task that is gone does not come back by a write that did not know of it."""
    with pytest.raises(VersionConflictError) as caught:
        await tasks.update(a_task(version=NEVER_WRITTEN), Lane.ACKNOWLEDGE)

    assert (caught.value.queue, caught.value.task_id) == ("mail", "task-1")
    with pytest.raises(TaskNotFoundError):
        await tasks.get("mail", "task-1")


async def test_of_two_writers_one_wins(tasks):
    """Of two writes from the same read one lands, and the other is told."""
    read = await tasks.create(a_task())

    outcomes = await asyncio.gather(
        tasks.update(claimed_by("worker-1", read), Lane.CLAIM),
        tasks.update(claimed_by("worker-2", read), Lane.CLAIM),
        return_exceptions=True,
    )

    (won,) = (outcome for outcome in outcomes if isinstance(outcome, Task))
    (lost,) = (outcome for outcome in outcomes if not isinstance(outcome, Task))
    assert isinstance(lost, VersionConflictError)
    assert await tasks.get("mail", "task-1") == won


async def test_a_storm_of_claims_gives_each_task_to_one_worker(tasks):
    """Twenty workers over ten tasks: each task is claimed once, however the writes are mixed."""
    created = await create_all(tasks, *(a_task(id=f"{number}") for number in range(10)))

    async def claim_all(worker_id: str) -> list[str]:
        outcomes = await asyncio.gather(
            *(tasks.update(claimed_by(worker_id, task), Lane.CLAIM) for task in created),
            return_exceptions=True,
        )
        others = [outcome for outcome in outcomes if not isinstance(outcome, Task)]
        assert all(isinstance(other, VersionConflictError) for other in others)
        return [outcome.id for outcome in outcomes if isinstance(outcome, Task)]

    claims = await asyncio.gather(*(claim_all(f"worker-{number}") for number in range(20)))

    assert sorted(id_ for ids in claims for id_ in ids) == sorted(task.id for task in created)
    for number, ids in enumerate(claims):
        for id_ in ids:
            stored = await tasks.get("mail", id_)
            assert stored.last_claimed.worker_id == f"worker-{number}"


# ------------------------------------------------------------------ search


async def test_a_search_sees_what_the_last_refresh_saw(tasks):
    """New tasks are not found before a refresh, and taken ones are found until the next."""
    task = await tasks.create(a_task())
    assert await ids_found(tasks, a_search()) == [[]]

    await tasks.refresh()
    assert await ids_found(tasks, a_search()) == [["task-1"]]

    await tasks.update(claimed_by("worker-1", task), Lane.CLAIM)
    assert await ids_found(tasks, a_search()) == [["task-1"]]

    await tasks.refresh()
    assert await ids_found(tasks, a_search()) == [[]]


async def test_a_read_does_not_refresh(tasks):
    """To read a task by id does not make it visible to searches."""
    await tasks.create(a_task())
    await tasks.get("mail", "task-1")

    assert await ids_found(tasks, a_search()) == [[]]


async def test_a_search_is_in_claim_order(tasks):
    """Higher priorities first, and among equals what is due earlier."""
    order = [
        a_task(priority=2**40, run_at=START),
        a_task(priority=10, run_at=START),
        a_task(priority=1, run_at=START - MILLISECOND),
        a_task(priority=1, run_at=START),
        a_task(priority=0, run_at=datetime(1, 1, 1, tzinfo=UTC)),
        a_task(priority=0, run_at=datetime(1970, 1, 2, tzinfo=UTC)),
        a_task(priority=0, run_at=START - timedelta(days=1)),
        a_task(priority=0, run_at=START - SECOND),
        a_task(priority=0, run_at=datetime.fromisoformat("2026-03-01T12:59:59.5+01:00")),
        a_task(priority=-1, run_at=datetime(1880, 1, 1, tzinfo=UTC)),
        a_task(priority=-(2**40), run_at=datetime(2000, 1, 1, tzinfo=UTC)),
    ]
    wanted = [f"{number:02}" for number in range(len(order))]
    named = [task._replace(id=id_) for id_, task in zip(wanted, order, strict=True)]
    await create_all(tasks, *named[1::2], *named[::-2])
    await tasks.refresh()

    assert await ids_found(tasks, a_search()) == [wanted]


async def test_a_search_finds_only_what_is_due(tasks):
    """A task is found from its `run_at` on, to the millisecond."""
    await create_all(
        tasks,
        a_task(id="past", run_at=START - timedelta(days=365)),
        a_task(id="just now", run_at=START),
        a_task(id="soon", run_at=START + MILLISECOND),
        a_task(id="later", run_at=datetime.max.replace(tzinfo=UTC)),
    )
    await tasks.refresh()

    assert await ids_found(
        tasks,
        a_search(due_at=START - MILLISECOND),
        a_search(due_at=START),
        a_search(due_at=START + MILLISECOND),
    ) == [["past"], ["past", "just now"], ["past", "just now", "soon"]]


async def test_a_search_finds_only_what_can_be_claimed(tasks):
    """Queued and failed tasks with attempts left are found, and no others."""
    in_every_state = [a_task(id=f"{state}", state=state) for state in TaskState]
    out_of_attempts = [
        task._replace(id=f"{task.id} too often", attempted=4) for task in in_every_state
    ]
    await create_all(tasks, *in_every_state, *out_of_attempts)
    await tasks.refresh()

    (found,) = await ids_found(tasks, a_search(due_at=LATER))

    assert sorted(found) == ["failed", "queued"]


async def test_a_task_that_failed_is_found_again_when_its_time_has_come(tasks):
    """The order and the time of a retry are those of the failure, with the old priority."""
    await create_all(tasks, a_task(id="waits", priority=1))
    claimed = await tasks.create(a_claimed_task(id="failed", priority=5))
    await tasks.update(
        claimed.fail(worker_id="worker-1", at=START, failure=None, retry_at=LATER),
        Lane.ACKNOWLEDGE,
    )
    await tasks.refresh()

    assert await ids_found(tasks, a_search(due_at=LATER - SECOND), a_search(due_at=LATER)) == [
        ["waits"],
        ["failed", "waits"],
    ]


async def test_a_search_looks_into_the_queues_that_it_names(tasks):
    """The named queues are searched and no others; no name means all of them."""
    queues = ["mail", "mai", "mail.x", "caf\u00e9", "reports"]
    await create_all(
        tasks,
        *(a_task(queue=queue, id=f"in {queue}", priority=-at) for at, queue in enumerate(queues)),
    )
    await tasks.refresh()

    assert await ids_found(
        tasks,
        a_search("mail"),
        a_search("reports", "caf\u00e9"),
        a_search("unknown"),
        a_search("unknown", "mai"),
        a_search(),
    ) == [
        ["in mail"],
        ["in caf\u00e9", "in reports"],
        [],
        ["in mai"],
        [f"in {queue}" for queue in queues],
    ]


async def test_every_search_has_its_own_bounds(tasks):
    """Several questions in one call are answered in their order, each for itself."""
    await create_all(
        tasks,
        *(
            a_task(queue=queue, id=f"{queue}{number}", priority=-number)
            for queue in ("a", "b")
            for number in range(5)
        ),
    )
    await tasks.refresh()

    assert await ids_found(
        tasks,
        a_search("b", size=2),
        a_search("a", size=1),
        a_search("a", due_at=START - SECOND),
        a_search("a", size=5),
        a_search("a", size=1),
    ) == [["b0", "b1"], ["a0"], [], ["a0", "a1", "a2", "a3", "a4"], ["a0"]]


async def test_a_search_can_begin_further_back(tasks):
    """With a rank to begin with, what goes before it is left out, and what has it is not."""
    await create_all(
        tasks, *(a_task(id=f"{number}", run_at=START - number * SECOND) for number in range(5))
    )
    await tasks.refresh()
    middle = claim_rank(0, START - 2 * SECOND)

    assert await ids_found(
        tasks,
        a_search(from_rank=middle),
        a_search(from_rank=middle, size=2),
        a_search(from_rank=middle + 1),
        a_search(from_rank=claim_rank(1, START)),
        a_search(from_rank=claim_rank(-1, START)),
    ) == [["2", "1", "0"], ["2", "1"], ["1", "0"], ["4", "3", "2", "1", "0"], []]


async def test_a_candidate_is_the_task_as_it_was_found(tasks):
    """A candidate tells queue, id, rank and version, and holds the whole task."""
    task = await tasks.create(
        with_every_member()._replace(state=TaskState.FAILED, run_at=START - MILLISECOND)
    )
    await tasks.refresh()

    ((candidate,),) = await tasks.search_claimable([a_search("mail")])

    assert (candidate.queue, candidate.task_id) == ("mail", "task-1")
    assert candidate.rank == claim_rank(-7, START - MILLISECOND)
    assert candidate.version == task.version
    assert candidate.size >= len(ANSWER)
    assert candidate.task() == task


async def test_a_candidate_can_be_claimed_without_a_read(tasks):
    """A claim may be made conditional on the version that a search found."""
    await create_all(tasks, a_task(id="a"), a_task(id="b"))
    await tasks.refresh()
    (found,) = await tasks.search_claimable([a_search()])

    for candidate in found:
        claimed = await tasks.update(claimed_by("worker-1", candidate.task()), Lane.CLAIM)
        assert await tasks.get(candidate.queue, candidate.task_id) == claimed

    assert len(found) == 2


async def test_a_candidate_that_is_gone_can_not_be_claimed(tasks):
    """A search may show what another has taken since; the claim is refused then."""
    created = await tasks.create(a_task())
    await tasks.refresh()
    taken = await tasks.update(claimed_by("worker-1", created), Lane.CLAIM)
    ((candidate,),) = await tasks.search_claimable([a_search()])

    with pytest.raises(VersionConflictError):
        await tasks.update(claimed_by("worker-2", candidate.task()), Lane.CLAIM)

    assert candidate.version == created.version
    assert await tasks.get("mail", "task-1") == taken


async def test_a_search_of_nothing_finds_nothing(tasks):
    """Without tasks each search is answered with no candidates."""
    assert await ids_found(tasks, a_search(), a_search("mail")) == [[], []]


async def test_a_refresh_shows_all_that_was_answered_before(tasks):
    """What was written in many simultaneous requests is found after one refresh."""
    await create_all(tasks, *(a_task(id=f"{number}") for number in range(300)))
    await tasks.refresh()

    (found,) = await ids_found(tasks, a_search(size=1000))

    assert sorted(found, key=int) == [f"{number}" for number in range(300)]
