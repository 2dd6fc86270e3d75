"""What might be claimed: found by searches, or known because it became claimable here.

Search results are as old as the last refresh. `GoneVersions` remembers which of the versions
that they show are known here to be taken, so that no claim wastes a try on them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tasques.domain.claim_rank import priority_class
from tasques.domain.ports import Candidate
from tasques.domain.task import Version
from tasques.services.sightings import Sightings
from tasques.services.slots import Slots

TaskKey = tuple[str, str]
"""Queue and id."""

_NEVER: Final = float("-inf")
_FRESH_SECONDS: Final = 1.0  # Elasticsearch's own delay: no search is older than that either
_LEAST_FRESH_SECONDS: Final = 0.25
_AGEING_SECONDS: Final = 0.3  # enough for a refresh and a search


class GoneVersions:
    """Versions of tasks that were dealt out here; bounded, the oldest are forgotten."""

    def __init__(self, max_tasks: int) -> None:
        self._max_tasks = max_tasks
        self._versions: OrderedDict[TaskKey, Version] = OrderedDict()

    def add(self, key: TaskKey, version: Version) -> None:
        """Note that nobody needs to try for this version, or an older one, any more."""
        self._versions.pop(key, None)
        self._versions[key] = version
        if len(self._versions) > self._max_tasks:
            self._versions.popitem(last=False)

    def discard(self, key: TaskKey, version: Version) -> None:
        """Note that this version is to be had after all."""
        if self._versions.get(key) == version:
            del self._versions[key]

    def holds(self, key: TaskKey, version: Version) -> bool:
        """Whether this version is known to be taken."""
        gone = self._versions.get(key)
        if gone is None:
            return False
        # A new primary may use sequence numbers again that its predecessor had not shared.
        return (version.primary_term, version.seq_no) <= (gone.primary_term, gone.seq_no)


@dataclass(slots=True, eq=False)
class CandidateBuffer:
    """What the latest searches for one set of queues found, in claim order.

    Tasks of other processes' slots are held back, unless those will not come to them soon: behind
    the own ones of their priority, and altogether where nothing of a lower priority follows. While
    it is not certain that the others are there, they are dealt when there is nothing else.

    Attributes:
        searched_at: when the latest search from the top began, on the monotonic clock.
        is_exhausted: whether the latest search came back short: there is no more in the index as
            it was last refreshed.
        next_rank: where the next page begins; None when the next search must begin at the top.
        mean_size: bytes of a candidate's free-form parts, as last seen.
    """

    slots: Slots
    gone: GoneVersions
    searched_at: float = _NEVER
    is_exhausted: bool = True
    next_rank: int | None = None
    mean_size: float = 0.0
    _found: deque[Candidate] = field(default_factory=deque)
    _held_back: list[Candidate] = field(default_factory=list)
    _size_when_full: int = 0
    _last_rank: int | None = None
    _fresh_until: float = _NEVER
    _slots_then: tuple[int, int] = (0, 1)
    _sightings: Sightings = field(init=False)

    def __post_init__(self) -> None:
        self._sightings = Sightings(self.slots, self.gone.holds)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left that goes before a new task, as far as the index shows it."""
        return self.is_exhausted and not self._held_back and self.first() is None

    @property
    def is_low(self) -> bool:
        """Whether it is time to fetch more, although something may be left."""
        return len(self._found) * 3 <= self._size_when_full

    def is_fresh(self, now: float) -> bool:
        """Whether the latest search from the top is recent, and sorted by the present slots."""
        return now <= self._fresh_until and self._slots_then == (self.slots.own, self.slots.count)

    def is_ageing(self, now: float) -> bool:
        """Whether it will soon not be recent enough any more, although it is still in use."""
        return self._fresh_until - now < _AGEING_SECONDS

    def reaches(self, rank: int) -> bool:
        """Whether all that goes before that rank has been found, as far as the index shows it."""
        return self.is_exhausted or (self._last_rank is not None and rank <= self._last_rank)

    def expire(self, now: float) -> bool:
        """Let go of what is too old to be dealt; whether anything is left."""
        if not self.is_fresh(now):
            self._found.clear()
            self._held_back.clear()
            self.next_rank = None
            self.is_exhausted = True
        return bool(self._found or self._held_back)

    def replace(
        self, found: Sequence[Candidate], *, size: int, searched_at: float, answered_at: float
    ) -> None:
        """Take the result of a search from the top, which asked for `size`."""
        self._found.clear()
        self._held_back.clear()
        self.searched_at = searched_at
        self._slots_then = (self.slots.own, self.slots.count)
        # A search that took long must still be good for something.
        self._fresh_until = max(searched_at + _FRESH_SECONDS, answered_at + _LEAST_FRESH_SECONDS)
        self.next_rank = None
        self._sightings.begin(found, is_all=len(found) < size, at=searched_at)
        self._take(found, size)

    def extend(self, found: Sequence[Candidate], *, size: int) -> None:
        """Take the page that begins at `next_rank`; it may show candidates again."""
        self._take(found, size)

    def first(self) -> Candidate | None:
        """The first candidate that is not known to be gone; it stays."""
        while self._found:
            candidate = self._found[0]
            if not self.gone.holds((candidate.queue, candidate.task_id), candidate.version):
                return candidate
            self._found.popleft()
        return None

    def drop_first(self) -> None:
        """Remove what `first` returned."""
        self._found.popleft()

    def release_before(self, rank: int) -> bool:
        """Hold back nothing that goes before `rank` by its priority; whether there was any."""
        if not self._held_back or priority_class(self._held_back[0].rank) >= priority_class(rank):
            return False
        self._found.extendleft(reversed(self._held_back))
        self._held_back.clear()
        return True

    def _take(self, found: Sequence[Candidate], size: int) -> None:
        known = {(each.queue, each.task_id) for each in (*self._found, *self._held_back)}
        for candidate in found:
            if (candidate.queue, candidate.task_id) not in known:
                self._sort_in(candidate)
        self.is_exhausted = len(found) < size
        if self.is_exhausted and not self.slots.is_certain:
            self._release_behind()
        self._size_when_full = len(self._found)
        self._last_rank = found[-1].rank if found else None
        # A whole page of one rank: another page would show the same ones again.
        is_stuck = self._last_rank is None or self._last_rank == self.next_rank
        self.next_rank = None if self.is_exhausted or is_stuck else self._last_rank
        if found:
            self.mean_size = sum(candidate.size for candidate in found) / len(found)

    def _sort_in(self, candidate: Candidate) -> None:
        held = self._held_back
        if held and priority_class(held[0].rank) < priority_class(candidate.rank):
            self._release_behind()
        if self.slots.is_own(candidate.task_id) or self._sightings.see(candidate):
            self._found.append(candidate)
        else:
            held.append(candidate)

    def _release_behind(self) -> None:
        """Hold back nothing any more; what was held back comes behind what was found so far."""
        self._found.extend(self._held_back)
        self._held_back.clear()
