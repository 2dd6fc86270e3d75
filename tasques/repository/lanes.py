"""Which of the waiting writes go into the next request."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tasques.domain.ports import Lane
from tasques.domain.task import Version

_CREATE_BYTES_BESIDE_OTHERS: Final = 256 * 1024
_SHARE: Final = 8  # a lane that waits gets at least 1/8 of a request, however full those above are


@dataclass(slots=True, eq=False)
class Write:
    """One operation of a `_bulk` request, from its submission to its answer.

    `body` holds the action and, if it has one, the document, each with its line break. `is_unsure`
    tells that an earlier try may have been executed although no answer came.
    """

    lane: Lane
    body: bytes
    deadline: float
    answer: Future[Version]
    tries: int = 0
    is_unsure: bool = False
    is_settled: bool = False


@dataclass(slots=True)
class Lanes:
    """Writes that wait, by urgency.

    Urgent ones go first, but none starves: each lane that waits has a share of every request. A
    lone write is slow behind megabytes of new tasks, so new tasks never take the last free slot,
    and only a small part of a request that carries something urgent.
    """

    max_operations: int
    max_bytes: int
    _queues: dict[Lane, deque[Write]] = field(
        default_factory=lambda: {lane: deque() for lane in Lane}
    )

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def has_creates(self) -> bool:
        """Whether new tasks wait."""
        return bool(self._queues[Lane.CREATE])

    def add(self, write: Write) -> None:
        """Let a write wait its turn."""
        self._queues[write.lane].append(write)

    def add_first(self, writes: list[Write]) -> None:
        """Let writes that were tried before wait at the head of their lanes."""
        for write in reversed(writes):
            self._queues[write.lane].appendleft(write)

    def take_all(self) -> list[Write]:
        """Everything that waits."""
        writes = [write for queue in self._queues.values() for write in queue]
        for queue in self._queues.values():
            queue.clear()
        return writes

    def take(self, free_slots: int, *, with_creates: bool = True) -> list[Write]:
        """The writes of the next request; empty if none should be sent now.

        Args:
            free_slots: how many more requests may be under way, this one included.
            with_creates: whether new tasks may be among them.
        """
        is_urgent = bool(self._queues[Lane.ACKNOWLEDGE] or self._queues[Lane.CLAIM])
        if not is_urgent and (free_slots <= 1 or not with_creates):
            return []
        batch: list[Write] = []
        bytes_left = self.max_bytes
        lanes = [lane for lane in Lane if self._queues[lane]]
        if not with_creates and Lane.CREATE in lanes:
            lanes.remove(Lane.CREATE)
        for below, lane in zip(range(len(lanes) - 1, -1, -1), lanes, strict=True):
            operations = self.max_operations - len(batch) - below * (self.max_operations // _SHARE)
            size = bytes_left - below * (self.max_bytes // _SHARE)
            if lane is Lane.CREATE and is_urgent:
                size = min(size, _CREATE_BYTES_BESIDE_OTHERS)
            bytes_left -= self._take_from(lane, batch, operations, size)
        return batch

    def _take_from(self, lane: Lane, batch: list[Write], operations: int, size: int) -> int:
        """Move writes into the batch, at least one; return how many bytes they have."""
        queue = self._queues[lane]
        taken = 0
        first = True
        while queue and (first or (operations > 0 and taken + len(queue[0].body) <= size)):
            write = queue.popleft()
            taken += len(write.body)
            operations -= 1
            first = False
            batch.append(write)
        return taken
