"""Tasks that became claimable in this process, which the index shows only after its next refresh."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, NamedTuple

from tasques.domain.claim_rank import end_of_class
from tasques.domain.task import Task, Version
from tasques.services.candidates import GoneVersions
from tasques.services.slots import Slots

_FOREIGN_READY_SECONDS: Final = 0.05  # then others may have seen it
_SPARE: Final = 64


@dataclass(slots=True, eq=False)
class ReadyTask:
    """A task that became claimable here, with its version: a candidate without a search.

    Attributes:
        place: the rank at which it is dealt: those of other processes' slots come behind the own
            ones of their priority, as others may be about to take them.
    """

    ready: Task
    rank: int
    place: int
    version: Version
    until: float

    @property
    def queue(self) -> str:
        """Its queue."""
        return self.ready.queue

    @property
    def task_id(self) -> str:
        """Its id."""
        return self.ready.id

    @property
    def size(self) -> int:
        """About how many bytes its free-form parts have."""
        return self.ready.size

    def task(self) -> Task:
        """The task as it was written."""
        return self.ready


class _Arrival(NamedTuple):
    """Tasks that came together, and are not yet sorted in."""

    tasks: Sequence[Task]
    at: float
    size: int


class ReadyList:
    """Tasks that became claimable here in the last seconds, in claim order for each queue.

    Bounded in number and bytes: the oldest go, whose refresh is nearest. They are sorted in only
    when somebody asks for one, so that they cost little where nobody does.
    """

    def __init__(
        self, *, max_tasks: int, max_bytes: int, seconds: float, gone: GoneVersions, slots: Slots
    ) -> None:
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._gone = gone
        self._slots = slots
        self._numbers = count()
        self._bytes = 0
        self._arrivals: deque[_Arrival] = deque()
        self._arrived = 0  # tasks in there
        self._ready: OrderedDict[int, ReadyTask] = OrderedDict()
        self._of_queue: dict[str, _ReadyQueue] = {}

    def __len__(self) -> int:
        return len(self._ready) + self._arrived

    def add(self, tasks: Sequence[Task], now: float) -> None:
        """Remember tasks that were just written, in any order."""
        arrival = _Arrival(tasks, now, sum([task.size for task in tasks]))
        self._arrivals.append(arrival)
        self._arrived += len(tasks)
        self._bytes += arrival.size
        self._drop_oldest(now)

    def first(self, queues: Sequence[str], now: float) -> ReadyTask | None:
        """The first of these queues' tasks in claim order; it stays. No queues means all."""
        if self._arrivals:
            self._drop_oldest(now)
        while self._arrivals:
            self._sort_in(self._take_arrival())
        if not self._ready:
            return None
        best: ReadyTask | None = None
        # Seldom have many queues new tasks at a time, but a claim may name a thousand of them.
        few = len(self._of_queue) < len(queues) or not queues
        for queue in self._of_queue.keys() & (queues or self._of_queue) if few else queues:
            ready = self._first_of(queue, now)
            if ready is not None and (best is None or ready.place < best.place):
                best = ready
        return best

    def _first_of(self, queue: str, now: float) -> ReadyTask | None:
        while (of_queue := self._of_queue.get(queue)) is not None:
            number = of_queue.heap[0][1]
            ready = self._ready.get(number)
            if ready is None:
                heappop(of_queue.heap)
            elif ready.until > now and not self._gone.holds((queue, ready.task_id), ready.version):
                return ready
            else:
                self._drop(number)
        return None

    def _take_arrival(self) -> _Arrival:
        arrival = self._arrivals.popleft()
        self._arrived -= len(arrival.tasks)
        self._bytes -= arrival.size
        return arrival

    def _sort_in(self, arrival: _Arrival) -> None:
        for task in arrival.tasks:
            if task.version is None:
                continue
            rank = task.rank
            is_own = self._slots.is_own(task.id)
            place = rank if is_own else end_of_class(rank)
            seconds = self._seconds if is_own else _FOREIGN_READY_SECONDS
            ready = ReadyTask(task, rank, place, task.version, arrival.at + seconds)
            number = next(self._numbers)
            self._ready[number] = ready
            self._bytes += task.size
            queue = self._of_queue.get(task.queue)
            if queue is None:
                queue = self._of_queue[task.queue] = _ReadyQueue()
            queue.tasks += 1
            heappush(queue.heap, (place, number))

    def _drop_oldest(self, now: float) -> None:
        while self._ready:
            number, ready = next(iter(self._ready.items()))
            if not self._is_full and ready.until > now:
                break
            self._drop(number)
        while self._arrivals and (self._is_full or self._arrivals[0].at + self._seconds <= now):
            self._take_arrival()

    @property
    def _is_full(self) -> bool:
        return len(self) > self._max_tasks or self._bytes > self._max_bytes

    def _drop(self, number: int) -> None:
        ready = self._ready.pop(number)
        self._bytes -= ready.size
        queue = self._of_queue[ready.queue]
        queue.tasks -= 1
        if not queue.tasks:
            del self._of_queue[ready.queue]
        elif len(queue.heap) > 2 * queue.tasks + _SPARE:
            queue.heap = [entry for entry in queue.heap if entry[1] in self._ready]
            heapify(queue.heap)


@dataclass(slots=True, eq=False)
class _ReadyQueue:
    """One queue's ready tasks by place and number; of those that were dropped a few may be left."""

    tasks: int = 0
    heap: list[tuple[int, int]] = field(default_factory=list)
