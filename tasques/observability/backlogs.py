"""What all queues have before them, for Prometheus. Import this module only if it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tasques.background_tasks import BackgroundTasks
from tasques.domain.backlog import STATES, Backlog
from tasques.domain.errors import TasquesError
from tasques.domain.ports import Clock
from tasques.observability.metrics import OTHER

log = logging.getLogger(__name__)

Backlogs = Mapping[str | None, Backlog]
"""By queue; None stands for those beyond the limit together."""

_BEYOND: Final = 60.0  # seconds for which they are still shown when there are no newer ones


class BacklogFigures(Collector):
    """Shows what was found when it was last asked for, unless that is too long ago.

    Every process of every server finds the same, so unlike counts this must not be added up.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Backlogs]],
        *,
        clock: Clock,
        background: BackgroundTasks,
        interval: float,
        patience: float = 2.0,
    ) -> None:
        """Make figures; nothing is shown until they were refreshed.

        Args:
            find: counts what there is; takes a bounded time.
            clock: for ages.
            background: where it is asked for, so that nobody need wait for the answer.
            interval: seconds for which an answer is new.
            patience: seconds for which somebody who looks waits for one.
        """
        self._find = find
        self._clock = clock
        self._background = background
        self._interval = interval
        self._patience = patience
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = clock.monotonic()
        self._found: tuple[float, Backlogs] | None = None
        self._is_failing = False

    async def refresh(self) -> None:
        """Ask if it is time to; return after a bounded time, with or without an answer."""
        now = self._clock.monotonic()
        if self._asking is None and now >= self._ask_at:
            self._ask_at = now + self._interval
            self._asking = self._background.start(self._ask(), name="backlogs")
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=self._patience)

    async def _ask(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            self._found = asked_at, await self._find()
        except TasquesError as error:
            if not self._is_failing:
                log.warning("the queues can not be counted", extra={"reason": str(error)})
            self._is_failing = True
        else:
            if self._is_failing:
                log.info("the queues can be counted again")
            self._is_failing = False
        finally:
            self._asking = None

    def render(self) -> bytes:
        """All of it in Prometheus' text format; may run in any thread."""
        return generate_latest(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What there is to be shown."""
        found = self._found
        if found is None or self._clock.monotonic() - found[0] > self._interval + _BEYOND:
            return
        depth = GaugeMetricFamily(
            "tasques_queue_depth",
            "Tasks that are not archived. Each server shows all: take the max, not the sum.",
            labels=("queue", "state"),
        )
        backlog = GaugeMetricFamily(
            "tasques_queue_backlog",
            "Tasks that are due or claimed: those that need a worker now, or have one.",
            labels=("queue",),
        )
        oldest = GaugeMetricFamily(
            "tasques_oldest_due_task_age_seconds",
            "How long the oldest task that could be claimed has been due; 0 if there is none.",
            labels=("queue",),
        )
        for queue, each in found[1].items():
            label = OTHER if queue is None else queue
            for state in STATES:
                depth.add_metric((label, state), each.tasks.get(state, 0))
            backlog.add_metric((label,), each.to_work_on)
            oldest.add_metric((label,), each.oldest_due_for)
        yield from (depth, backlog, oldest)
