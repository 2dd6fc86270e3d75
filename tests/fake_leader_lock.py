"""A leader lock in memory, for which many electors can compete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from tasques.domain.lease import Lease
from tasques.domain.task import Version


async def at_once() -> None:
    """Let others have their turn in between, as over a network."""
    await asyncio.sleep(0)


@dataclass(slots=True)
class LeaseStore:
    """What all locks on it share.

    Attributes:
        stored: the lease as it is now.
        written: every lease that was ever stored, in order.
    """

    stored: Lease | None = None
    written: list[Lease] = field(default_factory=list)

    def put(self, lease: Lease) -> None:
        """Store whatever it is."""
        self.stored = replace(lease, version=Version(len(self.written), 1))
        self.written.append(self.stored)


@dataclass(slots=True)
class InMemoryLeaderLock:
    """One server's way to the lease. Implements `LeaderLock`.

    Attributes:
        store: where the lease is.
        before: awaited before each operation takes place; it may raise, or take its time.
        after: awaited before each operation is answered; it may raise, or take its time.
        reads: how often the lease was read.
    """

    store: LeaseStore = field(default_factory=LeaseStore)
    before: Callable[[], Awaitable[None]] = at_once
    after: Callable[[], Awaitable[None]] = at_once
    reads: int = 0

    async def read(self) -> Lease | None:
        self.reads += 1
        await self.before()
        found = self.store.stored
        await self.after()
        return found

    async def write(self, lease: Lease) -> Lease | None:
        await self.before()
        there = self.store.stored
        if (None if there is None else there.version) == lease.version:
            self.store.put(lease)
        found = self.store.stored
        await self.after()
        return found
