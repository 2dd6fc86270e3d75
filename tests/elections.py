"""Servers that compete for the lead, without Elasticsearch and without time passing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from fake_leader_lock import InMemoryLeaderLock, LeaseStore
from fakes import FakeClock, settle

from tasques.background.elector import Elector
from tasques.domain.lease import Server

LEASE = 5.0
INTERVAL = 1.0


@dataclass(slots=True)
class HostClock:
    """A host's own clocks: begun at its own time, a little fast or slow."""

    clock: FakeClock
    ahead: float = 0.0
    rate: float = 1.0

    def now(self) -> datetime:
        return self.clock.now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return self.clock.monotonic() * self.rate + self.ahead

    def boottime(self) -> float:
        return self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds / self.rate)


class Rival:
    """A server as far as elections go."""

    def __init__(
        self,
        name: str,
        store: LeaseStore,
        clock: FakeClock | HostClock,
        *,
        lease: float = LEASE,
        interval: float = INTERVAL,
    ) -> None:
        self.me = Server(name, "host", 1)
        self.lock = InMemoryLeaderLock(store)
        self.is_fit = True
        self.elector = Elector(
            lock=self.lock,
            me=self.me,
            clock=clock,
            random=Random(name),
            interval=timedelta(seconds=interval),
            lease=timedelta(seconds=lease),
            may_lead=lambda: self.is_fit,
        )
        self.running: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        return self.elector.is_leader()

    def start(self) -> Rival:
        """Let it take part."""
        self.running = asyncio.ensure_future(self.elector.run())
        return self

    async def stop(self) -> None:
        """End it in order."""
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait([self.running])

    async def vanish(self) -> None:
        """End it as `kill -9` does: the store hears nothing more of it."""

        async def hang() -> None:
            await asyncio.get_running_loop().create_future()

        self.lock.before = hang
        self.lock.after = hang
        await settle()


@dataclass
class Election:
    """A store, and servers that compete."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: LeaseStore = field(default_factory=LeaseStore)
    rivals: list[Rival] = field(default_factory=list)

    def join(self, name: str, **arguments: float) -> Rival:
        """Let one more server take part."""
        rival = Rival(name, self.store, self.clock, **arguments).start()
        self.rivals.append(rival)
        return rival

    @property
    def leaders(self) -> list[Rival]:
        return [rival for rival in self.rivals if rival.leads]

    async def until_somebody_leads(self) -> Rival:
        """Let time pass until there is a leader."""
        for _ in range(200):
            if leaders := self.leaders:
                (leader,) = leaders
                return leader
            await self.clock.advance(0.1)
        raise AssertionError("Nobody leads.")

    async def end(self) -> None:
        """Leave nothing running."""
        for rival in self.rivals:
            if rival.running is not None:
                rival.running.cancel()
        await asyncio.gather(
            *(rival.running for rival in self.rivals if rival.running), return_exceptions=True
        )
