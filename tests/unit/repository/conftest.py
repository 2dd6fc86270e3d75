from __future__ import annotations

import pytest
from fakes import FakeClock, settle
from scripted import Longest, ScriptedConnection

from tasques.repository.bulk import BulkWriter, WriteLimits


@pytest.fixture
def connection():
    return ScriptedConnection()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def make_writer(connection, clock):
    """Writers that are closed in the end, when all that they counted is zero again."""
    made = []

    def make(random=None, **limits):
        writer = BulkWriter(
            connection, limits=WriteLimits(**limits), clock=clock, random=random or Longest()
        )
        made.append(writer)
        return writer

    yield make
    for writer in made:
        await writer.close(0)
        await settle()
        assert (len(writer._pending), writer._pending_bytes, writer._in_flight) == (0, 0, 0)
        assert not len(writer._tasks)


@pytest.fixture
def writer(make_writer):
    return make_writer()
