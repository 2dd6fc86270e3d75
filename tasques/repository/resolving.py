"""What has become of a write that did not simply succeed.

A conflict is never believed at once. Answers get lost, the writer repeats, and Elasticsearch
repeats too, when a primary dies: so a 409 may be the echo of our own write. After each one the
document is read, and our `write_id` (or, after a create, our `incarnation`) in it means that the
write took place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from tasques.domain.errors import TasquesError, UnavailableError
from tasques.domain.ports import Clock
from tasques.domain.task import Version
from tasques.repository.bulk import OutcomeUnknownError, WriteConflictError
from tasques.repository.reads import DocumentReader, Found

_MOST_SECONDS: Final = 9.5  # of a write and its explanation; old clients give up after 10
_STALE_READ_PAUSE: Final = 0.05

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Resolver:
    """Explains the conflicts of the documents behind one alias by reading them."""

    def __init__(
        self,
        *,
        alias: str,
        reader: DocumentReader,
        clock: Clock,
        unresolved: Callable[[str], UnavailableError],
    ) -> None:
        """Make a resolver.

        Args:
            alias: where the documents are.
            reader: of them.
            clock: for pauses.
            unresolved: makes the error that tells that nobody knows about the document of an id.
        """
        self._alias = alias
        self._reader = reader
        self._clock = clock
        self._unresolved = unresolved

    def latest(self) -> float:
        """When a write that begins now has to be explained, on the monotonic clock."""
        return self._clock.monotonic() + _MOST_SECONDS

    async def explain(
        self, key: str, outcome: Exception, until: float, look: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Find out what an outcome means that is not a new version.

        Args:
            key: id of the document.
            outcome: what the writer said.
            until: see `latest`.
            look: what tells, after a conflict.

        Raises:
            UnavailableError: nobody knows in time; made by `unresolved`.
            Exception: the outcome itself, if there is nothing to find out about it.
        """
        if isinstance(outcome, OutcomeUnknownError):
            raise self._unresolved(key) from outcome
        if not isinstance(outcome, WriteConflictError):
            raise outcome
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                return await look()
        except (TimeoutError, UnavailableError, OutcomeUnknownError) as error:
            raise self._unresolved(key) from error

    async def what_is_there(self, key: str) -> Found:
        """Read until something is there: a read of nothing is older than a create's conflict."""
        while (found := await self.read(key)) is None:
            await self.pause()
        return found

    async def what_has_changed(self, key: str, version: Version | None) -> Found | None:
        """Read until that version is gone, as a read that shows it is older than its conflict."""
        while (found := await self.read(key)) is not None and found.version == version:
            await self.pause()
        return found

    async def read(self, key: str) -> Found | None:
        """Read a document once; what it shows may be older than a conflict."""
        return await self._reader.get(self._alias, key)

    async def pause(self) -> None:
        """Wait a moment, after a read that was too old."""
        await self._clock.sleep(_STALE_READ_PAUSE)


async def settle_all(
    writes: Sequence[tuple[Item, str]],
    outcomes: Sequence[Version | Exception],
    *,
    stored: Callable[[Item, Version], Item],
    resolve: Callable[[Item, str, Exception], Awaitable[Item]],
) -> list[Item | TasquesError]:
    """Turn the outcomes of a batch into what it has stored, or why not, in the same order.

    Args:
        writes: what was to be written, each with its `write_id`.
        outcomes: what the writer answered.
        stored: gives what was written its new version.
        resolve: finds out what another outcome means; all of them at the same time.
    """

    async def settle(item: Item, write_id: str, outcome: Exception) -> Item | TasquesError:
        try:
            return await resolve(item, write_id, outcome)
        except TasquesError as error:
            return error

    unsettled = [
        settle(*write, outcome)
        for write, outcome in zip(writes, outcomes, strict=True)
        if not isinstance(outcome, Version)
    ]
    late = iter(await asyncio.gather(*unsettled) if unsettled else ())
    return [
        stored(item, outcome) if isinstance(outcome, Version) else next(late)
        for (item, _), outcome in zip(writes, outcomes, strict=True)
    ]
