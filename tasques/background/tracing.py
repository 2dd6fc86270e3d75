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
        transaction = self._agent.begin(BACKGROUND)
        try:
            done = await self._chore.run_once()
        except Exception as error:
            self._agent.report(error)
            self._agent.end(self.name, "failure", "failure")
            raise
        except BaseException:  # cancelled: the server stops
            self._agent.discard()
            raise
        if done and transaction is not None:
            transaction.label(count=done)
            self._agent.end(self.name, "success", "success")
        else:
            self._agent.discard()
        return done
