"""What to deal next: the index and what became claimable here, merged in claim order."""

from __future__ import annotations

from collections.abc import Callable

from tasques.domain.ports import Candidate
from tasques.services.candidates import GoneVersions
from tasques.services.ready_list import ReadyList
from tasques.services.waiting import QueueSet


class Supply:
    """Takes out candidates; each version is dealt once only."""

    def __init__(self, *, ready: ReadyList, gone: GoneVersions, search: Callable[[], None]) -> None:
        """Deal from `ready` and from the buffers; `search` is called when one runs low."""
        self._ready = ready
        self._gone = gone
        self._search = search

    def next(self, queue_set: QueueSet, now: float) -> Candidate | None:
        """The next task for those who wait; None until something recent is known."""
        if not queue_set.buffer.is_fresh(now):
            return None
        buffer = queue_set.buffer
        found = buffer.first()
        ready = self._ready.first(queue_set.queues, now)
        if ready is not None and not buffer.reaches(ready.place):
            ready = None  # it would overtake what is on the next page
        if ready is not None and buffer.release_before(ready.rank):
            found = buffer.first()
        candidate: Candidate | None
        if ready is not None and (found is None or ready.place < found.rank):
            candidate = ready
        else:
            candidate = found
            if found is not None:
                buffer.drop_first()
                self._look_ahead(queue_set, now)
        if candidate is not None:
            self._gone.add((candidate.queue, candidate.task_id), candidate.version)
        return candidate

    def is_used_up(self, queue_set: QueueSet, now: float) -> bool:
        """Whether a new task may go to those who wait, as nothing goes before it."""
        buffer = queue_set.buffer
        return (
            buffer.is_fresh(now)
            and buffer.is_used_up
            and self._ready.first(queue_set.queues, now) is None
        )

    def _look_ahead(self, queue_set: QueueSet, now: float) -> None:
        """Have the next search made while there is still something to deal."""
        buffer = queue_set.buffer
        if not queue_set.is_ageing and buffer.is_ageing(now):
            queue_set.is_ageing = True
            self._search()
        elif buffer.is_low and buffer.next_rank is not None:
            self._search()
