"""What becomes of tasks that are other processes' to take first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tasques.domain.ports import Candidate
from tasques.domain.task import Version
from tasques.services.slots import Slots

_NEVER: Final = float("-inf")
_LEFT_LYING_SECONDS: Final = 0.6  # enough to see whether those who go first take anything
_REACH_SECONDS: Final = 2.0  # nobody deals what was found longer ago than half of that


class _Sighting(NamedTuple):
    version: Version
    rank: int
    since: float


@dataclass(slots=True, eq=False)
class Sightings:
    """Remembers from one search to the next which tasks of others' slots were seen unclaimed.

    So it knows how fast others take them, and which they will not come to for a while.
    All times are those at which searches began, on the monotonic clock.

    Attributes:
        is_dealt: whether that version of a task was dealt here, which says nothing of the others.
    """

    slots: Slots
    is_dealt: Callable[[tuple[str, str], Version], bool]
    _now: float = _NEVER
    _seen: dict[tuple[str, str], _Sighting] = field(default_factory=dict)
    _before: dict[tuple[str, str], _Sighting] = field(default_factory=dict)
    _taken: deque[tuple[float, Counter[int]]] = field(default_factory=deque)
    _reach: dict[int, float] = field(default_factory=dict)
    _positions: Counter[int] = field(default_factory=Counter)

    def begin(self, found: Sequence[Candidate], *, is_all: bool, at: float) -> None:
        """Begin with a search from the top; `is_all` if there was nothing beyond `found`."""
        self._before, self._seen = self._seen, {}
        self._now = at
        there = {(each.queue, each.task_id): each.version for each in found}
        gone = (
            self.slots.line(key[1])
            for key, seen in self._before.items()
            if (is_all or seen.rank <= found[-1].rank)
            and there.get(key) != seen.version
            and not self.is_dealt(key, seen.version)
        )
        self._taken.append((at, Counter(gone)))
        while self._taken[0][0] < at - _REACH_SECONDS:
            self._taken.popleft()
        watched = max(at - self._taken[0][0], _LEFT_LYING_SECONDS)
        total = sum((taken for _, taken in self._taken), Counter[int]())
        self._reach = {line: taken * _REACH_SECONDS / watched for line, taken in total.items()}
        self._positions.clear()

    def see(self, candidate: Candidate) -> bool:
        """Note another process's candidate of the latest search, or of its next page.

        Returns:
            Whether it is this process's turn to take it: it has been there for a while, and those
            who go first will not come to it soon at the pace at which they take others.
        """
        key = (candidate.queue, candidate.task_id)
        before = self._before.get(key)
        if before is None or before.version != candidate.version:
            before = _Sighting(candidate.version, candidate.rank, self._now)
        self._seen[key] = before
        line, turn = self.slots.line(candidate.task_id), self.slots.turn(candidate.task_id)
        position = self._positions[line]
        self._positions[line] += 1
        has_lain = self._now - before.since >= turn * _LEFT_LYING_SECONDS
        return has_lain and position >= self._reach.get(line, 0)
