from __future__ import annotations

import pytest
from scripted import ScriptedConnection

from tasques.domain.errors import (
    NotLeadingError,
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    TooLargeError,
)
from tasques.repository.bulk_once import BulkOnce
from tasques.repository.connection import NoAnswerError


class Elasticsearch:
    """Answers bulk requests; a request with `bad` in it is refused as a whole."""

    def __init__(self):
        self.connection = ScriptedConnection()
        self.connection.respond = self.respond
        self.results = {}
        self.refusal = 400
        self.bulk = BulkOnce(connection=self.connection, max_bytes=100, timeout=1)

    def respond(self, request):
        lines = request.body.splitlines()
        if b"bad" in lines:
            error = {"type": "illegal_argument_exception", "reason": "bad line"}
            request.answer(self.refusal, {"error": error})
        else:
            good = {"status": 201, "_index": "a-000001", "_seq_no": 1, "_primary_term": 1}
            items = [{"create": self.results.get(line, good)} for line in lines]
            request.answer(200, {"items": items})

    @property
    def sizes(self):
        return [len(request.body.splitlines()) for request in self.connection.requests]


@pytest.fixture
def elasticsearch():
    return Elasticsearch()


def yes():
    return True


def refused(status, error_type="some_exception"):
    return {"status": status, "_index": "a", "error": {"type": error_type, "reason": "because"}}


async def test_operations_go_in_requests_of_bounded_size_and_large_ones_alone(elasticsearch):
    operations = [b"x" * 39 + b"\n"] * 5 + [b"x" * 500 + b"\n", b"x\n"]

    items = await elasticsearch.bulk.send(operations, yes)

    assert elasticsearch.sizes == [2, 2, 1, 1, 1]
    assert [item.status for item in items] == [201] * 7


async def test_one_operation_that_spoils_a_request_is_found_and_the_others_are_done(elasticsearch):
    operations = [b"1\n", b"2\n", b"bad\n", b"4\n", b"5\n"]

    items = await elasticsearch.bulk.send(operations, yes)

    assert [item.status for item in items] == [201, 201, 400, 201, 201]
    assert isinstance(items[2].error, StoreRejectedError)
    assert "bad line" in str(items[2].error)


async def test_a_request_that_is_refused_for_now_is_not_sent_in_parts(elasticsearch):
    elasticsearch.refusal = 429

    with pytest.raises(StoreUnavailableError, match="bad line"):
        await elasticsearch.bulk.send([b"1\n", b"bad\n"], yes)

    assert elasticsearch.sizes == [2]


async def test_a_lone_operation_that_is_refused_for_now_does_not_stop_others(elasticsearch):
    elasticsearch.refusal = 429
    operations = [b"bad\n", b"x" * 100 + b"\n"]

    first, second = await elasticsearch.bulk.send(operations, yes)

    assert isinstance(first.error, StoreUnavailableError)
    assert second.error is None


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (refused(400), StoreRejectedError),
        (refused(403, "cluster_block_exception"), StoreBlockedError),
        (refused(429, "cluster_block_exception"), StoreBlockedError),
        (refused(429), StoreUnavailableError),
        (refused(503), StoreUnavailableError),
        (refused(404, "index_not_found_exception"), StoreUnavailableError),
        (refused(413), TooLargeError),
    ],
)
async def test_each_refusal_has_its_kind_and_its_reason(elasticsearch, result, error):
    elasticsearch.results[b"1"] = result

    item, other = await elasticsearch.bulk.send([b"1\n", b"2\n"], yes)

    assert type(item.error) is error
    assert "because" in str(item.error)
    assert item.version is None
    assert other.error is None


async def test_a_missing_document_is_no_error(elasticsearch):
    missing = {"status": 404, "_index": "a", "_seq_no": 7, "_primary_term": 1}
    elasticsearch.results[b"1"] = missing | {"result": "not_found"}

    (item,) = await elasticsearch.bulk.send([b"1\n"], yes)

    assert item.error is None


async def test_no_answer_is_an_outage(elasticsearch):
    elasticsearch.connection.respond = lambda request: request.fail(NoAnswerError("lost"))

    with pytest.raises(StoreUnavailableError):
        await elasticsearch.bulk.send([b"1\n"], yes)


async def test_before_each_request_it_is_asked_whether_it_may_be_sent(elasticsearch):
    asked = iter([True, True, False])

    with pytest.raises(NotLeadingError):
        await elasticsearch.bulk.send([b"x" * 99 + b"\n"] * 5, lambda: next(asked))

    assert elasticsearch.sizes == [1, 1]


async def test_nothing_to_send_is_not_sent(elasticsearch):
    assert await elasticsearch.bulk.send([], yes) == []
    assert elasticsearch.sizes == []
