"""Where claims wait: by the set of queues that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tasques.services.candidates import CandidateBuffer
from tasques.services.waiting import QueueSet, Waiter


class WaitingRoom:
    """All claims of this process that wait.

    A set of queues is remembered when nobody waits for it any more, as its workers will be back,
    but only so many are.
    """

    def __init__(self, *, max_sets: int, new_buffer: Callable[[], CandidateBuffer]) -> None:
        self._max_sets = max_sets
        self._new_buffer = new_buffer
        self._sets: dict[tuple[str, ...], QueueSet] = {}
        self._waited_for: dict[str, set[QueueSet]] = {}
        self._parked = 0

    @property
    def parked(self) -> int:
        """How many claims wait."""
        return self._parked

    @property
    def sets(self) -> Mapping[tuple[str, ...], QueueSet]:
        """The sets of queues, with claims that wait for them or without."""
        return self._sets

    def enter(self, queues: tuple[str, ...], waiter: Waiter) -> QueueSet:
        """Let a claim wait for queues, which are sorted; none means all."""
        queue_set = self._sets.get(queues)
        if queue_set is None:
            self._make_room()
            queue_set = self._sets[queues] = QueueSet(queues, self._new_buffer())
        if not queue_set.waiters:
            for queue in queues:
                self._waited_for.setdefault(queue, set()).add(queue_set)
        self._parked += 1
        queue_set.add(waiter)
        return queue_set

    def leave(self, queue_set: QueueSet, waiter: Waiter) -> None:
        """Forget a claim that waited."""
        self._parked -= 1
        queue_set.remove(waiter)
        if queue_set.waiters:
            return
        for queue in queue_set.queues:
            sets = self._waited_for.get(queue)
            if sets is not None:
                sets.discard(queue_set)
                if not sets:
                    del self._waited_for[queue]

    def waiting_for(self, queue: str) -> Iterator[QueueSet]:
        """The sets that a task of this queue can be dealt to."""
        yield from self._waited_for.get(queue, ())
        if (every_queue := self._sets.get(())) is not None:
            yield every_queue

    def _make_room(self) -> None:
        """Forget sets that nobody waits for, oldest first."""
        if len(self._sets) < self._max_sets:
            return
        idle = [queues for queues, queue_set in self._sets.items() if not queue_set.waiters]
        for queues in idle[: len(idle) // 2 + 1]:
            del self._sets[queues]
