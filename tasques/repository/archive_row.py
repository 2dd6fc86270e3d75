"""The indices of the archive, in the order in which roll-overs made them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.asking import read, send
from tasques.repository.connection import Connection

_FILTER: Final = (
    "filter_path=*.aliases,*.settings.index.creation_date,*.settings.index.lifecycle.name"
)
_CLOCK_DIFFERENCE: Final = timedelta(minutes=1)  # of a server and Elasticsearch, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveIndex:
    """One index of the archive.

    Attributes:
        name: of the index.
        created_at: when Elasticsearch made it.
        is_written: whether new tasks go there.
        has_lifecycle: whether Elasticsearch rolls it over by itself.
    """

    name: str
    created_at: datetime
    is_written: bool
    has_lifecycle: bool


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """All indices of the archive, the oldest first, the one that is written last."""

    indices: Sequence[ArchiveIndex]

    @property
    def written(self) -> ArchiveIndex:
        """The index that new tasks go to."""
        return self.indices[-1]

    def position(self, name: str) -> int:
        """The place of an index in the row; behind all others if it is not in it."""
        names = [index.name for index in self.indices]
        return names.index(name) if name in names else len(names)

    def may_hold(self, finished_at: datetime) -> list[str]:
        """Which indices may hold a task that was finished then.

        Those that were written after it was finished: into one that was rolled over before, it
        can not have been put. How old tasks have to be to be archived does not matter here: that
        is a setting, and settings change.
        """
        older = [
            index.name
            for index, successor in pairwise(self.indices)
            if successor.created_at >= finished_at - _CLOCK_DIFFERENCE
        ]
        return [*older, self.written.name]


async def read_row(
    connection: Connection,
    alias: str,
    *,
    timeout: float,  # noqa: ASYNC109 - the connection enforces it
) -> ArchiveRow:
    """Ask which indices the archive has now.

    Raises:
        UnavailableError: that can not be told, or none is written.
    """
    answer = await send(connection, "GET", f"/{quote(alias)}?{_FILTER}", timeout=timeout)
    if answer.status == 404:
        raise StoreUnavailableError(f"The alias {alias} is missing: run `tasques setup`.")
    return _row(alias, read(answer))


def _row(alias: str, found: Mapping[str, Mapping[str, Any]]) -> ArchiveRow:
    lone = len(found) == 1
    indices = [
        _index(name, index, index["aliases"][alias].get("is_write_index", lone))
        for name, index in found.items()
        if alias in index.get("aliases", {})
    ]
    indices.sort(key=lambda index: (index.is_written, _number(index.name), index.created_at))
    if not indices or not indices[-1].is_written:
        raise StoreUnavailableError(f"The alias {alias} writes nowhere: run `tasques setup`.")
    return ArchiveRow(indices)


def _index(name: str, index: Mapping[str, Any], is_written: bool) -> ArchiveIndex:  # noqa: FBT001 - a member, not a switch
    settings = index["settings"]["index"]
    return ArchiveIndex(
        name=name,
        created_at=datetime.fromtimestamp(int(settings["creation_date"]) / 1000, UTC),
        is_written=is_written,
        has_lifecycle="lifecycle" in settings,
    )


def _number(name: str) -> int:
    """A lifecycle may shrink or mount an index; what it then is called ends with the same."""
    number = re.search(r"-([0-9]+)$", name)
    return int(number[1]) if number else -1
