from __future__ import annotations

from dataclasses import replace

import pytest
from factories import a_task
from fakes import FoundTask

from tasques.domain.task import JsonText, Version
from tasques.services.candidates import CandidateBuffer, GoneVersions
from tasques.services.slots import Slots

NOW = 100.0


def stored(task_id="task-1", seq_no=0, **changes):
    return a_task(id=task_id, version=Version(seq_no, 1), **changes)


def found(rank, task_id=None, seq_no=0):
    return FoundTask("mail", task_id or f"{rank}", rank, Version(seq_no, 1), None)


# ---------------------------------------------------------------- versions that are gone


def test_a_version_that_was_dealt_is_gone_and_all_older_ones():
    gone = GoneVersions(10)
    gone.add(("mail", "1"), Version(5, 2))

    assert gone.holds(("mail", "1"), Version(5, 2))
    assert gone.holds(("mail", "1"), Version(4, 2))
    assert gone.holds(("mail", "1"), Version(9, 1))
    assert not gone.holds(("mail", "1"), Version(6, 2))
    assert not gone.holds(("mail", "1"), Version(1, 3))
    assert not gone.holds(("mail", "2"), Version(5, 2))
    assert not gone.holds(("post", "1"), Version(5, 2))


def test_a_version_can_be_had_after_all_unless_a_newer_one_was_dealt():
    gone = GoneVersions(10)
    gone.add(("mail", "1"), Version(5, 1))
    gone.discard(("mail", "1"), Version(4, 1))
    assert gone.holds(("mail", "1"), Version(5, 1))

    gone.discard(("mail", "1"), Version(5, 1))
    assert not gone.holds(("mail", "1"), Version(5, 1))


def test_the_oldest_versions_are_forgotten():
    gone = GoneVersions(2)
    for task_id in ("1", "2", "1", "3"):
        gone.add(("mail", task_id), Version(5, 1))

    assert [gone.holds(("mail", each), Version(5, 1)) for each in ("1", "2", "3")] == [
        True,
        False,
        True,
    ]


# ---------------------------------------------------------------- what searches found


def buffer_of(*candidates, size=10, searched_at=NOW, answered_at=NOW, gone=None):
    buffer = CandidateBuffer(Slots(), gone or GoneVersions(1))
    buffer.replace(candidates, size=size, searched_at=searched_at, answered_at=answered_at)
    return buffer


def take_all(buffer):
    while (first := buffer.first()) is not None:
        buffer.drop_first()
        yield first.rank


def test_a_buffer_that_was_never_filled_can_not_be_relied_upon():
    buffer = CandidateBuffer(Slots(), GoneVersions(1))

    assert not buffer.is_fresh(0.0)
    assert buffer.is_exhausted
    assert buffer.next_rank is None


def test_a_short_answer_is_all_there_is():
    buffer = buffer_of(found(1), found(2), size=3)

    assert buffer.is_exhausted
    assert buffer.next_rank is None
    assert buffer.reaches(99)


def test_a_full_page_is_followed_by_another_from_its_last_rank():
    buffer = buffer_of(found(1), found(2), found(3), size=3)

    assert not buffer.is_exhausted
    assert buffer.next_rank == 3
    assert buffer.reaches(3)
    assert not buffer.reaches(4)


def test_the_next_page_shows_nothing_twice():
    buffer = buffer_of(found(1), found(2), found(3), size=3)
    buffer.extend([found(3), found(4), found(5)], size=3)
    buffer.extend([found(5)], size=3)

    assert list(take_all(buffer)) == [1, 2, 3, 4, 5]
    assert buffer.is_exhausted


def test_after_two_pages_that_end_with_one_rank_a_search_must_begin_at_the_top():
    buffer = buffer_of(found(7, "a"), found(7, "b"), size=2)
    buffer.extend([found(7, "a"), found(7, "b")], size=2)

    assert buffer.next_rank is None
    assert not buffer.is_exhausted
    assert not buffer.reaches(8)


def test_what_is_gone_is_skipped():
    gone = GoneVersions(10)
    gone.add(("mail", "1"), Version(0, 1))
    gone.add(("mail", "3"), Version(0, 1))

    assert list(take_all(buffer_of(found(1), found(2), found(3), found(4), gone=gone))) == [2, 4]


def test_a_new_search_replaces_what_an_old_one_found():
    buffer = buffer_of(found(1), found(2))
    buffer.replace([found(3)], size=10, searched_at=NOW + 1, answered_at=NOW + 1)

    assert list(take_all(buffer)) == [3]
    assert buffer.searched_at == NOW + 1


def test_a_buffer_is_low_when_two_thirds_are_taken():
    buffer = buffer_of(*(found(each) for each in range(9)))
    for _ in range(5):
        buffer.drop_first()
    assert not buffer.is_low

    buffer.drop_first()
    assert buffer.is_low


@pytest.mark.parametrize(("answered_after", "fresh_for"), [(0.1, 1.0), (0.9, 1.15), (10.0, 10.25)])
def test_a_buffer_is_fresh_for_a_second_and_for_a_moment_after_a_slow_answer(
    answered_after, fresh_for
):
    buffer = buffer_of(found(1), answered_at=NOW + answered_after)

    assert buffer.is_fresh(NOW + fresh_for)
    assert not buffer.is_fresh(NOW + fresh_for + 0.001)


def test_what_is_too_old_is_let_go():
    buffer = buffer_of(found(1), found(2), size=2)

    assert buffer.expire(NOW + 1)
    assert not buffer.expire(NOW + 1.1)
    assert list(take_all(buffer)) == []
    assert buffer.next_rank is None


def test_the_size_of_candidates_is_learnt():
    tasks = [a_task(args=JsonText("x" * size)) for size in (100, 300)]
    candidates = [
        replace(found(rank), _task=task) for rank, task in zip((1, 2), tasks, strict=True)
    ]

    assert buffer_of(*candidates).mean_size == 200
