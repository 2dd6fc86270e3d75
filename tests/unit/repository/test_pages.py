from __future__ import annotations

from contextlib import aclosing

import orjson
import pytest
from scripted import ScriptedConnection

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.pages import pages


class Elasticsearch:
    """Answers searches for numbers, with padding."""

    def __init__(self, amount, padding=0):
        self.connection = ScriptedConnection()
        self.connection.respond = self.respond
        self.amount = amount
        self.padding = "x" * padding
        self.max_size = 10_000
        self.glances = 0
        self.sizes = []
        self.closed = []
        self.fails_after = amount

    def respond(self, request):
        body = orjson.loads(request.body) if request.body else {}
        if request.target.startswith("/index/_pit"):
            request.answer(200, {"id": "pit-0"})
        elif request.target.startswith("/index/_search"):
            assert "allow_partial_search_results=false" in request.target
            self.glances += 1
            self.answer(request, 0, body["size"])
        elif request.target == "/_pit":
            self.closed.append(body["id"])
            request.answer(200, {})
        else:
            assert "allow_partial_search_results=false" in request.target
            self.search(request, body)

    def search(self, request, body):
        self.sizes.append(body["size"])
        self.answer(request, body.get("search_after", [0])[0], body["size"])

    def answer(self, request, first, size):
        if size > self.max_size:
            request.answer(429, {"error": {"type": "circuit_breaking_exception", "reason": "big"}})
            return
        if first > self.fails_after:
            request.answer(503, {"error": {"type": "search_phase_execution_exception"}})
            return
        last = min(first + size, self.amount)
        hits = [
            {"sort": [n], "_id": str(n), "pad": self.padding} for n in range(first + 1, last + 1)
        ]
        request.answer(200, {"pit_id": f"pit-{len(self.sizes)}", "hits": {"hits": hits}})


async def read(elasticsearch):
    question = {"query": {"match_all": {}}, "sort": ["n"]}
    found = pages(elasticsearch.connection, "index", question, timeout=1)
    async with aclosing(found):
        return [[int(hit["_id"]) for hit in page] async for page in found]


@pytest.mark.parametrize("amount", [0, 1, 49])
async def test_few_are_found_with_a_single_request(amount):
    elasticsearch = Elasticsearch(amount)

    found = await read(elasticsearch)

    assert found == ([list(range(1, amount + 1))] if amount else [])
    assert elasticsearch.glances == 1
    assert len(elasticsearch.connection.requests) == 1


async def test_few_that_can_not_all_be_searched_are_an_error():
    elasticsearch = Elasticsearch(20)
    elasticsearch.fails_after = -1

    with pytest.raises(StoreUnavailableError):
        await read(elasticsearch)


@pytest.mark.parametrize("amount", [50, 51, 2000])
async def test_everything_is_found_once_and_the_point_in_time_is_freed(amount):
    elasticsearch = Elasticsearch(amount)

    found = await read(elasticsearch)

    assert [number for page in found for number in page] == list(range(1, amount + 1))
    assert all(found)
    assert elasticsearch.closed == [f"pit-{len(elasticsearch.sizes)}"]


async def test_pages_of_small_documents_grow_to_a_bound():
    elasticsearch = Elasticsearch(3000)

    await read(elasticsearch)

    assert elasticsearch.sizes[:4] == [100, 200, 400, 500]
    assert max(elasticsearch.sizes) == 500


async def test_pages_of_large_documents_shrink():
    elasticsearch = Elasticsearch(200, padding=200_000)

    found = await read(elasticsearch)

    assert all(len(page) * 200_000 < 8 * 1024 * 1024 for page in found[1:])
    assert sum(map(len, found)) == 200


async def test_an_answer_that_is_too_large_for_elasticsearch_is_asked_for_in_smaller_pages():
    elasticsearch = Elasticsearch(20)
    elasticsearch.max_size = 3

    found = await read(elasticsearch)

    assert [number for page in found for number in page] == list(range(1, 21))


async def test_a_single_document_that_is_too_large_is_an_error():
    elasticsearch = Elasticsearch(20)
    elasticsearch.max_size = 0

    with pytest.raises(StoreUnavailableError, match="circuit_breaking_exception"):
        await read(elasticsearch)


async def test_a_search_that_fails_in_part_is_an_error_and_the_point_in_time_is_freed():
    elasticsearch = Elasticsearch(200)
    elasticsearch.fails_after = 60

    with pytest.raises(StoreUnavailableError):
        await read(elasticsearch)

    assert elasticsearch.closed


async def test_who_stops_early_frees_the_point_in_time():
    elasticsearch = Elasticsearch(200)
    found = pages(elasticsearch.connection, "index", {}, timeout=1)

    async with aclosing(found):
        await anext(found)

    assert elasticsearch.closed == ["pit-1"]
