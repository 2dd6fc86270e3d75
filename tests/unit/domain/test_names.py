from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasques.domain.errors import InvalidRequestError
from tasques.domain.names import (
    MAX_KIND_BYTES,
    MAX_QUEUE_BYTES,
    MAX_RECURRING_TASK_ID_BYTES,
    MAX_TASK_ID_BYTES,
    MAX_WORKER_ID_BYTES,
    check_kind,
    check_queue,
    check_recurring_task_id,
    check_task_id,
    check_worker_id,
    queue_problems,
)

LONGEST_DOCUMENT_ID: Final = 512
MARK: Final = 22
E_ACUTE: Final = "\u00e9"  # two bytes


def check_worker(worker_id: str) -> str:
    return check_worker_id(worker_id, "worker_id")


def refusal(check: Callable[..., str], *arguments: str) -> tuple[str, ...]:
    with pytest.raises(InvalidRequestError) as caught:
        check(*arguments)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


FREE_TEXTS: Final = [
    (check_task_id, "id", MAX_TASK_ID_BYTES),
    (check_recurring_task_id, "id", MAX_RECURRING_TASK_ID_BYTES),
    (check_kind, "kind", MAX_KIND_BYTES),
    (check_worker, "worker_id", MAX_WORKER_ID_BYTES),
]
free_texts = pytest.mark.parametrize(
    ("check", "field", "limit"), FREE_TEXTS, ids=["task id", "recurring id", "kind", "worker id"]
)

# ------------------------------------------------------------------ queues


@pytest.mark.parametrize(
    "name",
    [
        "my-little-queue",
        "q",
        "0",
        "123",
        "a_b-c+d",
        "a.b",
        "...",
        ".hidden",
        "caf\u00e9",
        "\u4e2d\u6587",
        "\U0001f600",
        "a&b=c;d",
        "it's",
        "[x](y){z}",
        "!$@^`~",
        "claims",
        "reports",
        "done",
        "failed",
        "q" * 128,
        E_ACUTE * 64,
    ],
)
def test_queue_names_are_accepted_as_they_are(name):
    assert check_queue(name) == name
    assert queue_problems(name) == ()


@pytest.mark.parametrize("character", list('\\/*?"<>| ,#:%'))
def test_a_queue_name_has_none_of_the_characters_that_addresses_and_indices_need(character):
    for name in (f"a{character}b", f"{character}b", f"a{character}"):
        assert refusal(check_queue, name) == (f"queue: must not contain {character!r}",)


def test_every_forbidden_character_is_named_once():
    assert refusal(check_queue, "a?b:c?d") == ("queue: must not contain ':' '?'",)


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
def test_a_queue_name_has_no_control_characters(code):
    assert refusal(check_queue, f"a{chr(code)}b") == ("queue: must not contain control characters",)


@pytest.mark.parametrize("start", ["_", "-", "+"])
def test_a_queue_name_does_not_start_with_a_mark(start):
    assert refusal(check_queue, f"{start}a") == ("queue: must not start with '_', '-' or '+'",)
    assert check_queue(f"a{start}") == f"a{start}"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_queue_name_is_no_step_of_a_path(name):
    assert refusal(check_queue, name) == ("queue: must not be '.' or '..'",)


@pytest.mark.parametrize("name", ["A", "mAil", "\u00c9t\u00e9", "\u0391"])
def test_a_queue_name_is_in_lower_case(name):
    assert refusal(check_queue, name) == ("queue: must be in lower case",)
    assert check_queue(name.lower()) == name.lower()


def test_a_queue_name_is_not_empty():
    assert refusal(check_queue, "") == ("queue: must not be empty",)


@pytest.mark.parametrize(
    ("name", "size"), [("q" * 129, 129), (E_ACUTE * 65, 130), ("q" + E_ACUTE * 64, 129)]
)
def test_the_length_of_a_queue_name_is_counted_in_bytes(name, size):
    assert refusal(check_queue, name) == (f"queue: must not have more than 128 bytes, has {size}",)


def test_a_queue_name_is_valid_unicode():
    assert refusal(check_queue, "a\ud800") == ("queue: must be valid Unicode",)


def test_everything_that_is_wrong_with_a_queue_name_is_said_at_once():
    assert refusal(check_queue, "_A\t:" + "q" * 128, "queues[3]") == (
        "queues[3]: must not contain ':'",
        "queues[3]: must not contain control characters",
        "queues[3]: must not start with '_', '-' or '+'",
        "queues[3]: must be in lower case",
        "queues[3]: must not have more than 128 bytes, has 132",
    )


@given(st.text(max_size=140))
def test_any_text_is_either_a_queue_name_or_refused_with_a_reason(name):
    problems = queue_problems(name)

    if problems:
        assert refusal(check_queue, name) == tuple(f"queue: {problem}" for problem in problems)
    else:
        assert check_queue(name) == name
        assert ":" not in name
        assert 1 <= len(name.encode()) <= MAX_QUEUE_BYTES


# ------------------------------------------------------------------ task ids, kinds, worker ids


@free_texts
@pytest.mark.parametrize(
    "text",
    [
        "a:b",
        "123",
        "0",
        "q:1",
        ":",
        "A",
        "a",
        "...",
        "_id",
        " ",
        " a ",
        "a/b?c#d%2F",
        "../x",
        "*",
        'say "hi"\\',
        "line\nbreak\r\t\x00",
        "\u2028",
        "\U0001f600",
        "e\u0301",
    ],
)
def test_free_texts_are_accepted_as_they_are(check, field, limit, text):
    assert check(text) == text


@free_texts
def test_free_texts_are_not_empty(check, field, limit):
    assert refusal(check, "") == (f"{field}: must not be empty",)


@free_texts
def test_the_length_of_free_texts_is_counted_in_bytes(check, field, limit):
    four_bytes = "\U0001f600" * (limit // 4) + "x" * (limit % 4)
    for text in ("x" * limit, E_ACUTE * (limit // 2), four_bytes):
        assert len(text.encode()) == limit
        assert check(text) == text
        assert refusal(check, text + "x") == (
            f"{field}: must not have more than {limit} bytes, has {limit + 1}",
        )


@free_texts
def test_free_texts_are_valid_unicode(check, field, limit):
    assert refusal(check, "a\udfffb") == (f"{field}: must be valid Unicode",)


def test_a_refusal_names_the_field_that_it_was_told():
    assert refusal(check_task_id, "", "tasks[2].id") == ("tasks[2].id: must not be empty",)
    assert refusal(check_kind, "", "task_definition.kind")[0].startswith("task_definition.kind: ")
    assert refusal(check_worker_id, "", "X-TASQUES-WORKER-ID") == (
        "X-TASQUES-WORKER-ID: must not be empty",
    )


@pytest.mark.parametrize("check", [check_task_id, check_recurring_task_id])
@pytest.mark.parametrize("task_id", [".", ".."])
def test_an_id_that_clients_fold_away_is_refused(check, task_id):
    assert refusal(check, task_id) == ("id: must not be '.' or '..'",)


@pytest.mark.parametrize("task_id", ["x" * 366, "x" * 494, "x" * 510, E_ACUTE * 247])
def test_a_task_id_that_could_be_created_but_not_archived_is_refused(task_id):
    assert refusal(check_task_id, task_id) == (
        f"id: must not have more than 360 bytes, has {len(task_id.encode())}",
    )


def test_the_longest_names_together_are_the_longest_document_id():
    archived = f"{'q' * MAX_QUEUE_BYTES}:{'x' * MAX_TASK_ID_BYTES}:{'m' * MARK}"

    assert len(archived) == LONGEST_DOCUMENT_ID
    assert check_queue(archived[:128]) == "q" * 128
    assert check_task_id(archived[129:489]) == "x" * 360
