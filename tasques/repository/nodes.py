"""Which of Elasticsearch's nodes gets the next request."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from elastic_transport import BaseAsyncNode

log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


@dataclass(slots=True, eq=False)
class Node:
    """A node, and how it is doing; `turn` tells when it was last chosen."""

    client: BaseAsyncNode
    under_way: int = 0
    turn: int = 0
    failures: int = 0
    try_at: float = 0.0

    def is_usable(self, now: float) -> bool:
        """Whether it answered last time, or may be tried again: by one request, not by all."""
        return not self.failures or (now >= self.try_at and not self.under_way)

    def succeeded(self) -> None:
        """It has answered."""
        if self.failures:
            self.failures = 0
            log.info("Elasticsearch answers again", extra={"node": self.client.base_url})

    def failed(self, now: float, reason: str) -> None:
        """It has not answered; all that was under way together counts once."""
        if not self.failures:
            log.warning(
                "Elasticsearch does not answer",
                extra={"node": self.client.base_url, "reason": reason},
            )
        if not self.failures or now >= self.try_at:
            self.try_at = now + min(_FIRST_PAUSE * (1 << min(self.failures, 10)), _LONGEST_PAUSE)
            self.failures += 1


class Nodes:
    """All nodes; the one with the least to do is next, so that none waits behind a slow one."""

    def __init__(self, clients: Sequence[BaseAsyncNode]) -> None:
        self._nodes = [Node(client) for client in clients]
        self._turns = 0

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def is_any_alive(self) -> bool:
        """Whether one of them answered when it was last asked."""
        return any(not node.failures for node in self._nodes)

    def choose(self, now: float, *, tried: Collection[Node] = ()) -> Node:
        """The node for a request; one that fails only if all do.

        Args:
            now: seconds on the clock by which failures were noted.
            tried: those that did not take this very request; at least one must be left.
        """
        if len(self._nodes) == 1:
            return self._nodes[0]
        left = [node for node in self._nodes if node not in tried]
        usable = [node for node in left if node.is_usable(now)] or left
        chosen = min(usable, key=lambda node: (node.under_way, node.turn))
        self._turns += 1
        chosen.turn = self._turns
        return chosen
