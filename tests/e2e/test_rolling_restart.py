"""Three servers behind a load balancer are replaced one by one, while they are in use.

TASQUES_TEST_ROUNDS says how often; five are the whole proof.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest
from deployment import Deployment, Load
from processes import run
from relay import Balancer

pytestmark = pytest.mark.elasticsearch

ROUNDS = int(os.environ.get("TASQUES_TEST_ROUNDS", "1"))
SERVERS = 3
PRODUCERS = 8
WORKERS = 16
PATIENCE = 60.0


@pytest.fixture
def settings(elasticsearch_url, prefix, tmp_path):
    settings = {
        "bind_address": "127.0.0.1:0",
        "drain_delay": "3s",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }
    run("setup", folder=tmp_path, settings=settings)
    return settings


@pytest.fixture
async def balancer():
    async with Balancer(interval=0.5) as balancer:
        yield balancer


@pytest.fixture
async def deployment(tmp_path, settings, balancer, request):
    with ExitStack() as stack:
        deployment = Deployment(stack, tmp_path, settings | request.param, balancer)
        for _ in range(SERVERS):
            await deployment.start_one()
        yield deployment
        for server in deployment.servers:
            server.stop(signal.SIGINT)  # which leaves no time for leaving


@pytest.mark.parametrize("deployment", [{"workers": 1}, {"workers": 2}], indirect=True, ids=str)
async def test_servers_are_replaced_and_no_client_notices(deployment, balancer):
    """Nothing is refused, lost, or done twice; connections that break are few."""
    load = Load(balancer.url, pause=0.05)
    async with asyncio.timeout(PATIENCE * (1 + ROUNDS)), asyncio.TaskGroup() as group:
        load.start(group, producers=PRODUCERS, workers=WORKERS)
        for _ in range(ROUNDS * SERVERS):
            await deployment.replace_one()
        load.end()

    assert not load.refused
    assert load.done.keys() == load.created.keys()
    assert max(Counter(load.handed_out).values()) == 1
    if not load.broken:  # else a claim may have ended with its connection
        assert {attempted for _, attempted in load.handed_out} == {1}
    assert load.broken < PRODUCERS + WORKERS
