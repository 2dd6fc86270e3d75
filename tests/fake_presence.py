"""Signs of life in memory, for processes that watch each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from tasques.domain.task import Version


@dataclass(slots=True)
class SignsOfLife:
    """What all processes share.

    Attributes:
        stored: the latest sign of life of each process.
    """

    stored: dict[str, Version] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)

    def put(self, process_id: str) -> Version:
        """Store a sign of life, whoever gives it."""
        self.stored[process_id] = Version(next(self._numbers), 1)
        return self.stored[process_id]


@dataclass(slots=True)
class InMemoryPresenceRepository:
    """One process's way to the signs of life. Implements `PresenceRepository`.

    Attributes:
        signs: where they are.
        error: raised instead of doing anything, while it is set.
        before_remove: awaited before a process is forgotten; it may raise.
        beats: how often a sign of life was asked for.
        removed: whom this process wanted to be forgotten, in order.
    """

    signs: SignsOfLife = field(default_factory=SignsOfLife)
    error: Exception | None = None
    before_remove: Callable[[str], Awaitable[None]] | None = None
    beats: int = 0
    removed: list[str] = field(default_factory=list)

    async def beat(self, process_id: str) -> Mapping[str, Version]:
        self.beats += 1
        await self._take_a_turn()
        self.signs.put(process_id)
        return dict(self.signs.stored)

    async def remove(self, process_id: str, version: Version) -> None:
        self.removed.append(process_id)
        await self._take_a_turn()
        if self.before_remove is not None:
            await self.before_remove(process_id)
        if self.signs.stored.get(process_id) == version:
            del self.signs.stored[process_id]

    async def _take_a_turn(self) -> None:
        await asyncio.sleep(0)  # as over a network, others get their turn in between
        if self.error is not None:
            raise self.error
