from __future__ import annotations

import pytest
from apm_receiver import receiving

from tasques.background.service import do_pass
from tasques.background.tracing import TracedChore
from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError
from tasques.observability.apm import Agent

QUIET = {"metrics_interval": "0ms", "central_config": False}


class Scripted:
    """A chore that does as told, a pass each."""

    name = "reaper"
    interval = 1.0

    def __init__(self, *passes):
        self._passes = list(passes)

    async def run_once(self):
        outcome = self._passes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def after(*passes):
    with receiving() as received:
        agent = Agent({"server_url": f"http://127.0.0.1:{received.port}", **QUIET})
        chore = TracedChore(Scripted(*passes), agent)
        for _ in passes:
            await do_pass(chore, SystemClock())
        agent.close()
    return received


async def test_only_passes_that_did_something_are_transactions():
    received = await after(0, 3, 0)

    received.check()
    (transaction,) = received.of("transaction")
    assert (transaction["name"], transaction["type"]) == ("reaper", "background")
    assert transaction["context"]["tags"] == {"count": 3}


@pytest.mark.parametrize("error", [RuntimeError("bug"), StoreUnavailableError("away")])
async def test_a_pass_that_fails_is_a_transaction_with_its_error(error):
    received = await after(error)

    received.check()
    (transaction,) = received.of("transaction")
    (found,) = received.of("error")
    assert transaction["outcome"] == "failure"
    assert found["transaction_id"] == transaction["id"]
