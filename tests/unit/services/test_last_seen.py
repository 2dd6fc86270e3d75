from __future__ import annotations

from factories import START, a_claimed_task
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.task import JsonText
from tasques.services.last_seen import LastSeen


def memory(*, max_tasks=100, max_bytes=10**6):
    return LastSeen(max_tasks=max_tasks, max_bytes=max_bytes)


def remembered(last_seen, number):
    return [each for each in range(number) if last_seen.find("mail", f"{each}") is not None]


def test_what_was_seen_last_is_found():
    last_seen = memory()
    last_seen.remember(a_claimed_task(kind="old"))
    last_seen.remember(a_claimed_task(kind="new"))

    assert last_seen.find("mail", "task-1").kind == "new"
    assert last_seen.find("post", "task-1") is None
    assert last_seen.find("mail", "task-2") is None
    assert len(last_seen) == 1


def test_what_is_forgotten_is_not_found():
    last_seen = memory()
    last_seen.remember(a_claimed_task())
    last_seen.forget("mail", "task-1")
    last_seen.forget("mail", "never-seen")

    assert last_seen.find("mail", "task-1") is None
    assert len(last_seen) == 0


def test_those_not_seen_for_longest_are_forgotten_when_there_are_too_many():
    last_seen = memory(max_tasks=3)
    for task_id in ("0", "1", "2", "0", "3"):
        last_seen.remember(a_claimed_task(id=task_id))

    assert remembered(last_seen, 4) == [0, 2, 3]


def test_those_not_seen_for_longest_are_forgotten_when_they_are_too_large():
    last_seen = memory(max_bytes=20_000)
    for each in range(5):
        last_seen.remember(a_claimed_task(id=f"{each}", args=JsonText("x" * 7000)))

    assert remembered(last_seen, 5) == [3, 4]


def test_a_task_that_alone_is_too_large_is_not_remembered():
    last_seen = memory(max_bytes=5000)
    last_seen.remember(a_claimed_task(context=JsonText("x" * 5000)))

    assert len(last_seen) == 0
    last_seen.remember(a_claimed_task())
    assert len(last_seen) == 1


def test_the_data_of_reports_counts():
    last_seen = memory(max_bytes=20_000)
    for each in range(5):
        task = a_claimed_task(id=f"{each}").report(
            worker_id="worker-1", at=START, data=JsonText("x" * 7000)
        )
        last_seen.remember(task)

    assert remembered(last_seen, 5) == [3, 4]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 3000)), min_size=1, max_size=60
    )
)
def test_memory_never_exceeds_its_bounds_and_room_is_never_lost(steps):
    last_seen = memory(max_tasks=5, max_bytes=9000)
    task = a_claimed_task()
    for is_seen, number, size in steps:
        if is_seen:
            last_seen.remember(task._replace(id=f"{number}", args=JsonText("x" * size)))
        else:
            last_seen.forget("mail", f"{number}")
        assert len(last_seen) <= 5

    for each in range(5):
        last_seen.remember(task._replace(id=f"{each}", args=None))
    assert remembered(last_seen, 10) == [0, 1, 2, 3, 4]
