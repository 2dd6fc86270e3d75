from __future__ import annotations

import pytest

from tasques.domain.errors import (
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    TooLargeError,
)
from tasques.repository.verdict import Verdict, error_of, final_error, judge, read_error

BLOCK = "cluster_block_exception"
REJECTED = "es_rejected_execution_exception"


@pytest.mark.parametrize(
    ("status", "error_type", "verdict"),
    [
        (200, None, Verdict.DONE),
        (201, None, Verdict.DONE),
        (302, None, Verdict.GIVE_UP),
        (400, "document_parsing_exception", Verdict.GIVE_UP),
        (401, "security_exception", Verdict.GIVE_UP),
        (403, "security_exception", Verdict.GIVE_UP),
        (403, BLOCK, Verdict.GIVE_UP),
        (404, "index_not_found_exception", Verdict.GIVE_UP),
        (404, "document_missing_exception", Verdict.CONFLICT),
        (409, "version_conflict_engine_exception", Verdict.CONFLICT),
        (413, None, Verdict.GIVE_UP),
        (429, REJECTED, Verdict.TRY_AGAIN),
        (429, "circuit_breaking_exception", Verdict.TRY_AGAIN),
        (429, None, Verdict.TRY_AGAIN),
        (429, BLOCK, Verdict.GIVE_UP),
        (500, None, Verdict.TRY_AGAIN_UNSURE),
        (502, None, Verdict.TRY_AGAIN_UNSURE),
        (503, "unavailable_shards_exception", Verdict.TRY_AGAIN_UNSURE),
        (503, BLOCK, Verdict.TRY_AGAIN_UNSURE),
        (504, None, Verdict.TRY_AGAIN_UNSURE),
    ],
)
def test_each_answer_has_its_verdict(status, error_type, verdict):
    assert judge(status, error_type) is verdict


@pytest.mark.parametrize(
    ("status", "error_type", "error"),
    [
        (400, None, StoreRejectedError),
        (401, "security_exception", StoreUnavailableError),
        (403, "security_exception", StoreUnavailableError),
        (403, BLOCK, StoreBlockedError),
        (404, "index_not_found_exception", StoreUnavailableError),
        (413, None, TooLargeError),
        (429, BLOCK, StoreBlockedError),
    ],
)
def test_each_final_answer_has_its_error(status, error_type, error):
    assert type(final_error(status, error_type)) is error


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"type": "t", "reason": "r"}}, ("t", "r")),
        ({"error": {"type": "t"}}, ("t", "{'type': 't'}")),
        ({"error": {"type": "t", "reason": None}}, ("t", "{'type': 't', 'reason': None}")),
        ({"error": "text"}, (None, "text")),
        ({}, (None, "None")),
    ],
)
def test_an_error_may_have_several_forms(body, expected):
    assert error_of(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"type":"t","reason":"r"},"status":400}', ("t", "r")),
        (b"<html>", (None, "<html>")),
        (b"", (None, "")),
        (b"[]", (None, "[]")),
        (b"\xff", (None, "\ufffd")),
        (b"x" * 9999, (None, "x" * 500)),
    ],
)
def test_a_refused_request_may_have_any_body(body, expected):
    assert read_error(body) == expected
