from __future__ import annotations

from datetime import timedelta

import pytest
from factories import START, a_task

from tasques.domain.claim_rank import claim_rank
from tasques.domain.task import JsonText, Version
from tasques.services.candidates import GoneVersions
from tasques.services.ready_list import ReadyList
from tasques.services.slots import Slots

NOW = 100.0


def stored(task_id="task-1", seq_no=0, **changes):
    return a_task(id=task_id, version=Version(seq_no, 1), **changes)


def ready_list(gone=None, *, max_tasks=100, max_bytes=10_000, seconds=3.0):
    return ReadyList(
        max_tasks=max_tasks,
        max_bytes=max_bytes,
        seconds=seconds,
        gone=gone or GoneVersions(1000),
        slots=Slots(),
    )


def drain(ready, gone, queues=("mail",), now=NOW):
    """What is ready, in the order in which it would be dealt."""
    while (first := ready.first(queues, now)) is not None:
        gone.add((first.queue, first.task_id), first.version)
        yield first.task_id


def test_ready_tasks_come_in_claim_order():
    gone = GoneVersions(100)
    ready = ready_list(gone)
    ready.add([stored("third", run_at=START), stored("first", priority=1)], NOW)
    ready.add([stored("second", run_at=START - timedelta(seconds=1))], NOW)
    ready.add([stored("fourth", priority=-1)], NOW)

    assert list(drain(ready, gone)) == ["first", "second", "third", "fourth"]
    assert len(ready) == 0


@pytest.mark.parametrize(
    ("queues", "expected"),
    [(("a",), ["1"]), (("a", "c"), ["3", "1"]), ((), ["2", "3", "1"]), (("d",), [])],
)
def test_ready_tasks_are_those_of_the_queues(queues, expected):
    gone = GoneVersions(100)
    ready = ready_list(gone)
    ready.add([stored("1", queue="a")], NOW)
    ready.add([stored("2", queue="b", priority=2)], NOW)
    ready.add([stored("3", queue="c", priority=1)], NOW)

    assert list(drain(ready, gone, queues)) == expected


def test_a_ready_task_is_out_of_date_after_its_time():
    ready = ready_list(seconds=3.0)
    ready.add([stored()], NOW)

    assert ready.first(("mail",), NOW + 2.9) is not None
    assert ready.first(("mail",), NOW + 3.0) is None


def test_out_of_date_tasks_are_forgotten_although_nobody_asks():
    ready = ready_list(seconds=3.0)
    for each in range(50):
        ready.add([stored(queue=f"{each}")], NOW + each)

    assert len(ready) == 3


def test_when_there_is_no_room_the_oldest_are_forgotten():
    gone = GoneVersions(1000)
    ready = ready_list(gone, max_tasks=3)
    for each in range(500):
        ready.add([stored(f"{each}", priority=-each)], NOW)

    assert list(drain(ready, gone)) == ["497", "498", "499"]


def test_ready_tasks_are_bounded_in_bytes():
    gone = GoneVersions(100)
    ready = ready_list(gone, max_bytes=250)
    for each in range(5):
        ready.add([stored(f"{each}", args=JsonText("x" * 60), context=JsonText("y" * 40))], NOW)

    assert list(drain(ready, gone)) == ["3", "4"]


def test_a_task_without_a_version_is_not_ready():
    ready = ready_list()
    ready.add([a_task()], NOW)

    assert ready.first((), NOW) is None


def test_a_ready_task_is_the_task_as_it_was_written():
    task = stored(args=JsonText('{"a":1}'))
    ready = ready_list()
    ready.add([task], NOW)

    first = ready.first(("mail",), NOW)

    assert first.task() is task
    assert (first.queue, first.task_id, first.version) == ("mail", "task-1", Version(0, 1))
    assert first.rank == claim_rank(0, START)
    assert first.size == 7
