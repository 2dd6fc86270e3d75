"""Has the archive go on in a new index, where Elasticsearch does not do that by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tasques.domain.ports import TaskArchive

log = logging.getLogger(__name__)

_NAME: Final = "roller"


class Roller:
    """Rolls the archive over when it is time. Implements `Chore`."""

    def __init__(
        self, *, archive: TaskArchive, is_leader: Callable[[], bool], interval: float
    ) -> None:
        """Make a chore.

        Args:
            archive: what is rolled over; it knows the conditions, and whether it is our affair.
            is_leader: whether this server leads.
            interval: seconds from one pass to the next.
        """
        self.name = _NAME
        self.interval = interval
        self._archive = archive
        self._is_leader = is_leader

    async def run_once(self) -> int:
        """Roll over if it is time; return 1 if that was done. See `Chore`."""
        if not self._is_leader():
            return 0
        new_index = await self._archive.roll_over()
        if new_index is None:
            return 0
        log.info("the archive goes on in a new index", extra={"index": new_index})
        return 1
