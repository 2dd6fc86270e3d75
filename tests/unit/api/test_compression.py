from __future__ import annotations

import pytest
from factories import a_task

from tasques.domain.task import JsonText

LONG = JsonText('{"a":"' + "x" * 5000 + '"}')


@pytest.mark.parametrize(
    ("accepted", "args", "is_compressed"),
    [
        ("gzip, deflate, br", LONG, True),
        ("gzip", None, False),
        ("identity", LONG, False),
    ],
)
async def test_long_answers_are_compressed_for_who_asks(client, api, accepted, args, is_compressed):
    api.repository.store(a_task(args=args))

    answer = await client.get("/tasques/mail/task-1", headers={"accept-encoding": accepted})

    assert (answer.headers.get("content-encoding") == "gzip") == is_compressed
    assert answer.json()["id"] == "task-1"
    assert ("vary" in answer.headers) == is_compressed
