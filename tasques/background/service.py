"""The loops beside the HTTP server: the election, and the chores of the leader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import NoReturn

from tasques.background.chore import UNOBSERVED, Chore, ChoreObserver, Loop, Outcome
from tasques.background.clock_check import ClockCheck
from tasques.background.elector import Elector
from tasques.domain.errors import TasquesError
from tasques.domain.ports import Clock

log = logging.getLogger(__name__)


async def repeat(
    chore: Chore,
    *,
    is_leader: Callable[[], bool],
    clock: Clock,
    random: Random,
    observer: ChoreObserver = UNOBSERVED,
) -> NoReturn:
    """Do a pass of a chore every interval in which this server leads.

    The first comes after a random part of the interval, so that many chores, or many servers that
    were started together, do not all begin at once. A pass that takes longer than the interval is
    followed at once by the next, and none is made up for.
    """
    await clock.sleep(chore.interval * random.uniform(0.0, 1.0))
    while True:
        started_at = clock.monotonic()
        if is_leader():
            await do_pass(chore, clock, observer)
        await clock.sleep(max(0.0, started_at + chore.interval - clock.monotonic()))


async def do_pass(chore: Chore, clock: Clock, observer: ChoreObserver = UNOBSERVED) -> bool:
    """Do one pass, and return whether it succeeded. Whatever goes wrong in it, the loop goes on."""
    started_at = clock.monotonic()
    done = 0
    try:
        done = await chore.run_once()
    except TasquesError as error:
        outcome = Outcome.BROKEN_OFF
        log.warning("chore broken off", extra={"chore": chore.name, "reason": str(error)})
    except Exception:
        outcome = Outcome.FAILED
        log.exception("chore failed", extra={"chore": chore.name})
    else:
        outcome = Outcome.DONE
        took = round((clock.monotonic() - started_at) * 1000)
        level = logging.INFO if done else logging.DEBUG
        log.log(level, "chore done", extra={"chore": chore.name, "count": done, "took_ms": took})
    observer.passed(chore.name, outcome, done, clock.monotonic() - started_at)
    return outcome is Outcome.DONE


class BackgroundService:
    """Runs everything that is not an answer to a request."""

    def __init__(
        self,
        *,
        elector: Elector,
        clock_check: ClockCheck,
        chores: Sequence[Chore],
        loops: Sequence[Loop] = (),
        clock: Clock,
        random: Random,
        observer: ChoreObserver = UNOBSERVED,
    ) -> None:
        """Make a service; its `run` has to be running.

        Args:
            elector: keeps trying to lead.
            clock_check: compares clocks.
            chores: are repeated every interval while this server leads.
            loops: know by themselves when to do what.
            clock: for pauses.
            random: for pauses.
            observer: told of each pass of a chore.
        """
        self._elector = elector
        self._clock_check = clock_check
        self._chores = chores
        self._loops = loops
        self._clock = clock
        self._random = random
        self._observer = observer

    async def run(self) -> None:
        """Run until cancelled. A bug in one loop ends all, and is raised.

        When it ends, the chores do so first and the lead is given up after that: the next leader
        does not begin while a pass of this one is still under way.
        """
        async with asyncio.TaskGroup() as election:
            election.create_task(self._clock_check.run(), name="clock check")
            election.create_task(self._elector.run(), name="elector")
            async with asyncio.TaskGroup() as chores:
                for chore in self._chores:
                    chores.create_task(self._repeat(chore), name=chore.name)
                for loop in self._loops:
                    chores.create_task(loop.run(), name=loop.name)

    async def _repeat(self, chore: Chore) -> NoReturn:
        await repeat(
            chore,
            is_leader=self._elector.is_leader,
            clock=self._clock,
            random=self._random,
            observer=self._observer,
        )
