"""Fixtures for tests of the services."""

from __future__ import annotations

import pytest
from shop import Shop, running


@pytest.fixture
async def shop():
    """Services with the usual limits."""
    async with running(Shop()) as shop:
        yield shop
