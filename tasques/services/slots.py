"""Sharing work between processes without a word.

Processes that read the same candidates in the same order would conflict at nearly every claim. So
tasks fall into as many slots as there are processes, by their ids, and each process takes those of
its own slot first. A task of another's slot is taken when it was seen lying there for a while, and
its owner will not come to it soon: it is gone, or slow. The others have an order among themselves
for each task, so that they do not get into each other's way either.

Processes of one supervisor know of each other from the start. Until it has turned out which of them
hand out tasks at all, each takes its own first, and those of the others when there are no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from zlib import crc32

from tasques.domain.errors import TasquesError
from tasques.domain.ports import Clock, PresenceRepository
from tasques.domain.task import Version

log = logging.getLogger(__name__)

_GONE_AFTER: Final = 3.5  # missed signs of life
_FORGOTTEN_AFTER: Final = 60.0  # seconds
_LEAVE_AFTER: Final = 1.0  # seconds; between two claims of a worker is no reason to leave
_TURN: Final = 0.1  # seconds; how soon a change of activity is noticed
_FIRST_BEATS: Final = 5  # one in each turn, so that those who begin together soon know each other


class ServerProcess(NamedTuple):
    """Who takes part.

    Attributes:
        process_id: of one process; ids are in the order of slots.
        siblings: the ids of all that most likely begin and end together with it.
    """

    process_id: str
    siblings: Collection[str] = ()


@dataclass(slots=True)
class Slots:
    """The slot of this process. A process alone has every task.

    Attributes:
        own: its number, from 0.
        count: how many slots there are.
        is_certain: whether all the others are known to be there, so that their tasks can be left
            to them.
    """

    own: int = 0
    count: int = 1
    is_certain: bool = True

    def is_own(self, task_id: str) -> bool:
        """Whether this process goes first for the task."""
        return self.count == 1 or crc32(task_id.encode()) % self.count == self.own

    def line(self, task_id: str) -> int:
        """A number that tells who goes first for the task, and in which order the others follow."""
        return crc32(task_id.encode()) % (self.count * max(1, self.count - 1))

    def turn(self, task_id: str) -> int:
        """How many processes go before this one for the task."""
        second, owner = divmod(self.line(task_id), self.count)
        if owner == self.own:
            return 0
        among_others = (self.own - owner - 1) % self.count
        return 1 + (among_others - second) % (self.count - 1)


class Presence:
    """Keeps the slot up to date by watching the other processes' signs of life.

    A process is there as long as its signs of life change, as watched by this process's own
    clock: hosts' clocks need not agree.
    """

    def __init__(
        self,
        *,
        processes: PresenceRepository,
        process: ServerProcess,
        slots: Slots,
        clock: Clock,
        interval: float,
    ) -> None:
        """Watch; `interval` is in seconds, between two signs of life of any process."""
        self._processes = processes
        self._process_id = process.process_id
        self._slots = slots
        self._clock = clock
        self._interval = interval
        self._siblings = {process.process_id, *process.siblings}
        self._beats = 0  # since this process takes part
        self._seen: dict[str, tuple[Version, float]] = {}
        self._expect_siblings()

    async def run(self, is_active: Callable[[], bool]) -> None:
        """Take part while this process hands out tasks; never returns by itself."""
        next_beat = active_at = 0.0
        while True:
            now = self._clock.monotonic()
            try:
                if is_active():
                    active_at = now
                    if now >= next_beat:
                        is_new = self._beats < _FIRST_BEATS
                        next_beat = now + (0 if is_new else self._interval)
                        await self.beat()
                elif self._beats and now - active_at >= _LEAVE_AFTER:
                    next_beat = 0.0
                    await self.leave()
            except TasquesError as error:  # without it there are conflicts, but no mistakes
                log.debug("no sign of life", extra={"reason": str(error)})
            await self._clock.sleep(_TURN)

    async def beat(self) -> None:
        """Give a sign of life, and find out the own slot.

        Raises:
            UnavailableError: the store does not answer; the slot stays as it was.
        """
        self._beats += 1
        found = await self._processes.beat(self._process_id)
        now = self._clock.monotonic()
        self._watch(found, now)
        present = {
            process
            for process, (_, changed_at) in self._seen.items()
            if now - changed_at <= self._interval * _GONE_AFTER or process == self._process_id
        }
        expected = self._siblings if self._beats < _FIRST_BEATS else set()
        self._number(present | expected, is_certain=expected <= present)
        for process, (version, changed_at) in list(self._seen.items()):
            if now - changed_at > _FORGOTTEN_AFTER and process != self._process_id:
                await self._processes.remove(process, version)

    async def leave(self) -> None:
        """Let the others know that this process hands out nothing more.

        Raises:
            UnavailableError: the store does not answer; the others will notice by themselves.
        """
        self._beats = 0
        self._expect_siblings()
        own, self._seen = self._seen.get(self._process_id), {}
        if own is not None:
            await self._processes.remove(self._process_id, own[0])

    def _expect_siblings(self) -> None:
        self._number(self._siblings, is_certain=len(self._siblings) == 1)

    def _number(self, processes: Collection[str], *, is_certain: bool) -> None:
        self._slots.own = sorted(processes).index(self._process_id)
        self._slots.count = len(processes)
        self._slots.is_certain = is_certain

    def _watch(self, found: Mapping[str, Version], now: float) -> None:
        """Note for each process when its sign of life was first seen."""
        seen = {}
        for process, version in found.items():
            before = self._seen.get(process)
            seen[process] = before if before and before[0] == version else (version, now)
        seen.setdefault(self._process_id, (Version(0, 0), now))
        self._seen = seen
