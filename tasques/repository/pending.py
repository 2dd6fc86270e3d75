"""What somebody waits for, ended at its deadline whatever the requests under way are doing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from tasques.background_tasks import BackgroundTasks
from tasques.domain.ports import Clock


class Expiring(Protocol):
    """Something with a deadline."""

    @property
    def deadline(self) -> float:
        """When its time is over, on the monotonic clock."""
        ...

    def end(self) -> None:
        """Its time is over; nothing, if it was answered."""
        ...


Item = TypeVar("Item", bound=Expiring)


class Pending(Generic[Item]):
    """Items in the order of their deadlines; each has to be added with the latest one yet."""

    def __init__(self, clock: Clock, tasks: BackgroundTasks, *, name: str) -> None:
        """Watch deadlines in one of `tasks`, called `name`, while there are any."""
        self._clock = clock
        self._tasks = tasks
        self._name = name
        self._items: dict[Item, None] = {}  # a set has no order
        self._is_watched = False

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def add(self, item: Item) -> None:
        """Somebody waits for it."""
        self._items[item] = None
        if not self._is_watched:
            self._is_watched = True
            self._tasks.start(self._watch(), name=self._name)

    def remove(self, item: Item) -> None:
        """Nobody waits for it any more."""
        del self._items[item]

    async def _watch(self) -> None:
        try:
            while self._items:
                await self._clock.sleep(self._end_what_is_over())
        finally:
            self._is_watched = False

    def _end_what_is_over(self) -> float:
        """Return in how many seconds the next one is over."""
        now = self._clock.monotonic()
        for item in self._items:
            if item.deadline > now:
                return item.deadline - now
            item.end()
        return 0.0
