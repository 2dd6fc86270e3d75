from __future__ import annotations

import re
from itertools import islice

from tasques.unique import MARK_LENGTH, UniqueMarks


def marks_of(new_mark, count):
    return list(islice(iter(new_mark, None), count))


def test_no_mark_is_made_twice():
    assert len(set(marks_of(UniqueMarks(), 10_000))) == 10_000


def test_two_makers_never_make_the_same_mark():
    made = marks_of(UniqueMarks(), 1000) + marks_of(UniqueMarks(), 1000)

    assert len(set(made)) == 2000


def test_marks_are_of_one_length_and_safe_in_urls():
    for mark in marks_of(UniqueMarks(), 100):
        assert len(mark) == MARK_LENGTH
        assert re.fullmatch(r"[A-Za-z0-9_-]+", mark)
