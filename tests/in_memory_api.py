"""The real application and services over a repository in memory, for tests of the HTTP side."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import uvicorn
from fake_archive import InMemoryTaskArchive
from fake_recurring import InMemoryRecurringTaskRepository
from fakes import InMemoryTaskRepository

from tasques.api.app import create_app
from tasques.api.health import Probes
from tasques.api.requests import RequestDefaults
from tasques.background_tasks import BackgroundTasks
from tasques.clock import SystemClock
from tasques.domain.backlog import Backlog
from tasques.domain.lease import Leadership
from tasques.domain.recurring import RecurringTask
from tasques.http_protocol import OnePacketProtocol
from tasques.metrics import counted, figures, start_metrics
from tasques.services.broker_limits import BrokerLimits
from tasques.services.claims import ClaimBroker
from tasques.services.giving_back import GivingBack
from tasques.services.last_seen import LastSeen
from tasques.services.recurring_tasks import RecurringTaskService
from tasques.services.slots import Slots
from tasques.services.tasks import TaskService
from tasques.settings.model import MetricsSettings
from tasques.unique import UniqueMarks

NOBODY_LEADS = Leadership(None, is_this_server=False)


@dataclass
class InMemoryApi:
    """An application, and what is behind it."""

    app: Any
    repository: InMemoryTaskRepository
    archive: InMemoryTaskArchive
    recurring: InMemoryRecurringTaskRepository
    changed: list[RecurringTask]
    broker: ClaimBroker
    background: BackgroundTasks
    not_ready: str | Exception | None = None
    leadership: Leadership = NOBODY_LEADS
    warnings: Sequence[str] = ()
    backlogs: Mapping[str | None, Backlog] = field(default_factory=dict)


def build(
    *,
    users: Mapping[str, str] | None = None,
    defaults: RequestDefaults | None = None,
    access_log: bool = True,
    metrics: MetricsSettings | None = None,
) -> InMemoryApi:
    """Wire everything up as the server does, Elasticsearch left out."""
    repository = InMemoryTaskRepository()
    metrics = metrics or MetricsSettings()
    counts = start_metrics(metrics)
    by = counted(repository, counts)
    archive = InMemoryTaskArchive(repository)
    clock = SystemClock()
    random = Random(1)
    background = BackgroundTasks()
    last_seen = LastSeen(max_tasks=1000, max_bytes=10**6)
    broker = ClaimBroker(
        tasks=by.broker,
        last_seen=last_seen,
        clock=clock,
        new_claim_id=lambda: uuid4().hex,
        giving_back=GivingBack(
            tasks=by.giving_back, clock=clock, random=random, background=background
        ),
        background=background,
        slots=Slots(),
        limits=BrokerLimits(refresh_min_interval=0.01, poll_interval=0.02),
    )
    service = TaskService(
        tasks=by.service,
        archive=archive,
        claimable=broker,
        last_seen=last_seen,
        clock=clock,
        random=random,
        new_task_id=lambda: uuid4().hex,
        new_incarnation=lambda: uuid4().hex,
        conflict_retries=5,
    )

    recurring = InMemoryRecurringTaskRepository()
    changed: list[RecurringTask] = []
    recurring_tasks = RecurringTaskService(
        recurring_tasks=recurring,
        tasks=service,
        clock=clock,
        random=random,
        new_mark=UniqueMarks(),
        conflict_retries=5,
        on_changed=changed.append,
    )

    async def readiness() -> str | None:
        if isinstance(api.not_ready, Exception):
            raise api.not_ready
        return api.not_ready

    async def find_backlogs() -> Mapping[str | None, Backlog]:
        return api.backlogs

    app = create_app(
        tasks=service,
        claims=broker,
        recurring_tasks=recurring_tasks,
        defaults=defaults or RequestDefaults(),
        users=users or {},
        probes=Probes(
            readiness=readiness,
            leadership=lambda: api.leadership,
            warnings=lambda: api.warnings,
        ),
        clock=clock,
        access_log=access_log,
        figures=figures(
            metrics,
            counts,
            find_backlogs=find_backlogs,
            clock=clock,
            background=background,
        ),
    )
    api = InMemoryApi(app, repository, archive, recurring, changed, broker, background)
    return api


@asynccontextmanager
async def running(api: InMemoryApi) -> AsyncIterator[InMemoryApi]:
    """Let claims be served."""
    loop = asyncio.get_running_loop().create_task(api.broker.run())
    try:
        yield api
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
        await api.background.drain(5)


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        """Leave signals to pytest."""
        return nullcontext()


@asynccontextmanager
async def serving(api: InMemoryApi) -> AsyncIterator[int]:
    """Serve on a free port of loopback; gives the port."""
    configuration = uvicorn.Config(
        api.app, port=0, http=OnePacketProtocol, log_config=None, access_log=False
    )
    server = _Server(configuration)
    async with running(api):
        serve = asyncio.get_running_loop().create_task(server.serve())
        while not server.started:
            assert not serve.done(), "the server ended before it served"
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await serve


@contextmanager
def serving_in_a_thread(**build_arguments: Any) -> Iterator[str]:
    """Serve in a thread of its own, for tests that block; gives the address."""
    started = threading.Event()
    stop = threading.Event()
    ports: list[int] = []

    async def main() -> None:
        async with serving(build(**build_arguments)) as port:
            ports.append(port)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    deadline = time.monotonic() + 30
    while not started.wait(0.1):
        assert thread.is_alive(), "the server ended before it served"
        assert time.monotonic() < deadline, "the server does not start"
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join()
