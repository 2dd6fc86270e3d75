"""A client of the application, without a socket."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import pytest
from in_memory_api import build, running


@asynccontextmanager
async def client_of(api, **arguments):
    transport = httpx.ASGITransport(api.app)
    async with (
        running(api),
        httpx.AsyncClient(transport=transport, base_url="http://tasques", **arguments) as client,
    ):
        yield client


@pytest.fixture
def api():
    """The application without users."""
    return build()


@pytest.fixture
async def client(api):
    """Talks to `api`."""
    async with client_of(api) as client:
        yield client


@pytest.fixture
def client_with():
    """Makes a client of an application that is built in another way."""

    def make(*, headers=None, **arguments):
        return client_of(build(**arguments), headers=headers)

    return make
