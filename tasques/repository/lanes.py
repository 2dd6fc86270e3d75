"""Which of the waiting writes go into the next request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tasques.domain.ports import Lane
from tasques.repository.writes import Write

_CREATE_BYTES_BESIDE_URGENT: Final = 16 * 1024
_CREATE_BYTES_AMONG_URGENT: Final = 96 * 1024
_AMONG: Final = 16  # requests
_LANES: Final = tuple(Lane)  # to go through an enumeration is slow
_SHARE: Final = 8  # a lane that waits gets at least 1/8 of a request, however full those above are


@dataclass(slots=True)
class Lanes:
    """Writes that wait, by urgency.

    Urgent ones go first, but none starves: each lane that waits has a share of every request, and
    one whose next write found no room goes before the others in the next request. A lone write is
    slow behind megabytes of new tasks: inside their request, and also beside it, while they keep
    all of Elasticsearch's threads busy. So new tasks never take the last free slot, only a small
    part of a request that carries something urgent, and while there are such requests, theirs
    are small too.

    A request has at most `max_bytes`, unless it is a single write.
    """

    max_operations: int
    max_bytes: int
    _queues: dict[Lane, deque[Write]] = field(
        default_factory=lambda: {lane: deque() for lane in Lane}
    )
    _passed_over: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    _since_urgent: int = _AMONG

    def add(self, write: Write) -> None:
        """Let a write wait its turn."""
        self._queues[write.lane].append(write)

    def add_first(self, writes: list[Write]) -> None:
        """Let writes that were tried before wait at the head of their lanes."""
        for write in reversed(writes):
            self._queues[write.lane].appendleft(write)

    def take(self, free_slots: int, *, with_creates: bool = True) -> list[Write]:
        """The writes of the next request; empty if none should be sent now.

        Args:
            free_slots: how many more requests may be under way, this one included.
            with_creates: whether new tasks may be among them.
        """
        self._forget_what_is_over()
        is_urgent = bool(self._queues[Lane.ACKNOWLEDGE] or self._queues[Lane.CLAIM])
        self._since_urgent = 0 if is_urgent else self._since_urgent + 1
        if not is_urgent and (free_slots <= 1 or not with_creates):
            return []
        lanes = [
            lane
            for lane in _LANES
            if self._queues[lane] and (with_creates or lane is not Lane.CREATE)
        ]
        if len(lanes) > 1:
            lanes.sort(key=self._passed_over.__getitem__, reverse=True)
        return self._take_from(lanes, beside_urgent=is_urgent)

    def _take_from(self, lanes: list[Lane], *, beside_urgent: bool) -> list[Write]:
        batch: list[Write] = []
        room = self.max_bytes
        for below, lane in zip(range(len(lanes) - 1, -1, -1), lanes, strict=True):
            head = self._queues[lane][0]
            if batch and (len(head.body) > room or len(batch) >= self.max_operations):
                self._passed_over[lane] += 1
                continue
            self._passed_over[lane] = 0
            operations = self.max_operations - len(batch) - below * (self.max_operations // _SHARE)
            size = room - below * (self.max_bytes // _SHARE)
            if lane is Lane.CREATE and beside_urgent:
                size = min(size, _CREATE_BYTES_BESIDE_URGENT)
            elif lane is Lane.CREATE and self._since_urgent < _AMONG:
                size = min(size, _CREATE_BYTES_AMONG_URGENT)
            room -= self._move(lane, batch, operations, size)
        return batch

    def _move(self, lane: Lane, batch: list[Write], operations: int, size: int) -> int:
        """Move writes into the batch, at least one; return how many bytes they have."""
        queue = self._queues[lane]
        batch.append(queue.popleft())
        moved = len(batch[-1].body)
        operations -= 1
        while queue and operations > 0 and moved + len(queue[0].body) <= size:
            write = queue.popleft()
            if not write.is_over:
                batch.append(write)
                moved += len(write.body)
                operations -= 1
        return moved

    def _forget_what_is_over(self) -> None:
        for queue in self._queues.values():
            while queue and queue[0].is_over:
                queue.popleft()
