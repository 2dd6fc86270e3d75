"""Passes of chores as transactions of Elastic APM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tasques.background.chore import Chore
    from tasques.observability.apm import Agent

BACKGROUND: Final = "background"


class TracedChore:
    """A chore whose passes are transactions, if they did something or failed."""

    def __init__(self, chore: Chore, agent: Agent) -> None:
        self.name = chore.name
        self.interval = chore.interval
        self._chore = chore
        self._agent = agent

    async def run_once(self) -> int:
        """Do one pass, as the chore does."""
        tracer = self._agent.tracer
        transaction = tracer.begin(BACKGROUND)
        if transaction is None:
            return await self._chore.run_once()
        try:
            done = await self._chore.run_once()
        except Exception as error:
            self._agent.report(error)
            tracer.end(transaction, self.name, "failure", "failure")
            raise
        except BaseException:  # cancelled: the server stops
            tracer.discard(transaction)
            raise
        if done:
            transaction.labels["count"] = done
            tracer.end(transaction, self.name, "success", "success")
        else:
            tracer.discard(transaction)
        return done
