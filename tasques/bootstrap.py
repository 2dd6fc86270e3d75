"""From settings to a running application: the only module that knows every layer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from elasticsearch import AsyncElasticsearch
from starlette.types import ASGIApp

from tasques.api.app import create_app
from tasques.api.health import Probes
from tasques.apm import start_apm, store_parts, traced_app, traced_chores, traced_scheduler
from tasques.archive_policy import archive_policy, rollover_conditions
from tasques.background.service import BackgroundService
from tasques.background_tasks import BackgroundTasks
from tasques.chores import leaders_chores, leaders_scheduler
from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError, UnavailableError
from tasques.election import candidate
from tasques.limits import broker_limits, request_defaults, write_limits
from tasques.metrics import backlogs, counted, figures, observers, start_metrics
from tasques.reaching import client_options
from tasques.repository.archive import ElasticsearchTaskArchive
from tasques.repository.bulk import BulkWriter
from tasques.repository.client import build_client
from tasques.repository.indices import IndexNames
from tasques.repository.presence import ElasticsearchPresenceRepository
from tasques.repository.reads import DocumentReader
from tasques.repository.recurring import ElasticsearchRecurringTaskRepository
from tasques.repository.runs import ElasticsearchRunRepository
from tasques.repository.setup import check, setup
from tasques.repository.setup_errors import SetupError
from tasques.repository.setup_report import SetupReport
from tasques.services.claims import ClaimBroker
from tasques.services.giving_back import GivingBack
from tasques.services.last_seen import LastSeen
from tasques.services.recurring_tasks import RecurringTaskService
from tasques.services.slots import Presence, ServerProcess, Slots
from tasques.services.tasks import TaskService
from tasques.settings import ServerSettings
from tasques.unique import UniqueMarks

if TYPE_CHECKING:
    from tasques.observability.apm import Agent
    from tasques.observability.metrics import Metrics

_CHECK_TIMEOUT: Final = 2.0
_PRESENCE_INTERVAL: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Application:
    """Everything that runs in one server process.

    Attributes:
        asgi: the HTTP side.
        broker: what hands out tasks; its `run` has to be running.
        presence: which tasks this process hands out first; its `run` has to be running.
        background: the election and the chores of the leader; its `run` has to be running.
        client: the Elasticsearch client.
        names: what is called what in Elasticsearch.
        is_stopping: whether it says that it is not ready, although it serves requests.
        blocks: what kept it from writing when its readiness was last looked into.
    """

    asgi: ASGIApp
    broker: ClaimBroker
    presence: Presence
    background: BackgroundService
    client: AsyncElasticsearch
    names: IndexNames
    is_stopping: bool = False
    blocks: Sequence[str] = ()
    _writer: BulkWriter
    _reader: DocumentReader
    _background: BackgroundTasks
    _settings: ServerSettings
    _metrics: Metrics | None
    _is_leader: Callable[[], bool]

    async def watch(self) -> None:
        """Keep figures up to date; it has to be running, and returns only without any."""
        if self._metrics is not None:
            await self._metrics.watch(
                SystemClock(), parked=lambda: self.broker.parked, is_leader=self._is_leader
            )

    async def setup_problems(self) -> list[str]:
        """What set-up would have to do before this server can work, a sentence each.

        Raises:
            SetupError, StoreUnavailableError: it can not be found out.
        """
        findings = await check(self.client.options(request_timeout=_CHECK_TIMEOUT), self.names)
        self.blocks = findings.warnings
        return findings.problems

    async def setup(self) -> SetupReport:
        """Make, repair or upgrade what Tasques needs in Elasticsearch. Raises as `setup`."""
        return await run_setup(self._settings)

    async def finish(self, seconds: float) -> None:
        """Write what is still to be written, within that time; say of the rest that it was not."""
        self.broker.close()
        with suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(seconds / 3):
                await self.presence.leave()
        await self._background.drain(seconds / 3)
        await self._writer.close(seconds / 3)
        await self._reader.close()


@asynccontextmanager
async def application(
    settings: ServerSettings, process: ServerProcess, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Application]:
    """Build everything for this process, and close the connections in the end."""
    client = build_client(client_options(settings))
    apm = start_apm(settings.apm, environ)
    try:
        yield _build(settings, process, client, apm, start_metrics(settings.metrics))
    finally:
        await client.close()
        if apm is not None:
            await asyncio.to_thread(apm.close)


async def run_setup(settings: ServerSettings) -> SetupReport:
    """Make, repair or upgrade what Tasques needs in Elasticsearch. Raises as `setup`."""
    store = settings.elasticsearch
    names = IndexNames(store.index_prefix)
    async with build_client(client_options(settings)) as client:
        return await setup(
            client,
            names=names,
            shards=store.shards,
            replicas=store.replicas,
            refresh_interval=store.refresh_interval,
            archive_policy=archive_policy(settings, names),
        )


def _build(
    settings: ServerSettings,
    process: ServerProcess,
    client: AsyncElasticsearch,
    apm: Agent | None,
    metrics: Metrics | None,
) -> Application:
    clock = SystemClock()
    random = Random()  # noqa: S311 - jitter, no secrets
    new_mark = UniqueMarks()
    background = BackgroundTasks()
    names = IndexNames(settings.elasticsearch.index_prefix)
    store = store_parts(settings.logging, apm)
    connection = store.connection(client, authorization=client_options(settings).authorization)
    limits = write_limits(settings)
    told = observers(metrics)
    writer = store.writer(connection, limits=limits, clock=clock, random=random, observer=told.bulk)
    reader = store.reader(
        connection,
        clock=clock,
        random=random,
        deadline=limits.deadline,
        request_timeout=limits.request_timeout,
        max_pending=limits.max_pending_operations,
    )
    tasks = store.tasks(
        alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=connection,
        writer=writer,
        reader=reader,
        clock=clock,
        new_write_id=new_mark,
        request_timeout=limits.request_timeout,
    )
    by = counted(tasks, metrics)
    recurring = ElasticsearchRecurringTaskRepository(
        alias=names.recurring_alias,
        connection=connection,
        writer=writer,
        reader=reader,
        clock=clock,
        new_write_id=new_mark,
        request_timeout=limits.request_timeout,
    )
    slots = Slots()
    presence = Presence(
        processes=ElasticsearchPresenceRepository(
            alias=names.processes_alias,
            connection=connection,
            writer=writer,
            reader=reader,
            request_timeout=limits.request_timeout,
        ),
        process=process,
        slots=slots,
        clock=clock,
        interval=_PRESENCE_INTERVAL,
    )
    last_seen = LastSeen(max_tasks=50_000, max_bytes=64 * 1024 * 1024)
    broker = ClaimBroker(
        tasks=by.broker,
        last_seen=last_seen,
        clock=clock,
        new_claim_id=new_mark,
        giving_back=GivingBack(
            tasks=by.giving_back,
            clock=clock,
            random=random,
            background=background,
        ),
        background=background,
        slots=slots,
        limits=broker_limits(settings),
    )
    archive = ElasticsearchTaskArchive(
        tasks_alias=names.tasks_alias,
        archive_alias=names.archive_alias,
        connection=connection,
        conditions=rollover_conditions(settings),
        max_bytes=limits.max_bytes,
        request_timeout=limits.request_timeout,
    )
    election = candidate(
        settings,
        server_id=uuid4().hex,
        alias=names.leader_alias,
        connection=connection,
        clock=clock,
        random=random,
    )
    chores = leaders_chores(
        settings,
        tasks=by.reaper,
        archive=archive,
        is_leader=election.elector.is_leader,
        clock=clock,
        random=random,
        observer=told.chores,
    )
    scheduler = leaders_scheduler(
        settings,
        recurring_tasks=recurring,
        tasks=by.scheduler,
        runs=ElasticsearchRunRepository(
            tasks_alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=connection,
            reader=reader,
            request_timeout=limits.request_timeout,
        ),
        offer=broker.offer,
        is_leader=election.elector.is_leader,
        clock=clock,
        observer=told.chores,
    )
    service = TaskService(
        tasks=by.service,
        archive=archive,
        claimable=broker,
        last_seen=last_seen,
        clock=clock,
        random=random,
        new_task_id=lambda: token_hex(16),  # a third of the price of a UUID
        new_incarnation=new_mark,
        conflict_retries=settings.tasks.defaults.version_conflict_retry_times,
    )
    recurring_tasks = RecurringTaskService(
        recurring_tasks=recurring,
        tasks=service,
        clock=clock,
        random=random,
        new_mark=new_mark,
        conflict_retries=settings.tasks.defaults.version_conflict_retry_times,
        on_changed=scheduler.notify,
    )

    async def readiness() -> str | None:
        if built.is_stopping:
            return "The server is about to stop."
        try:
            problems = await built.setup_problems()
        except (SetupError, StoreUnavailableError) as error:
            return str(error)
        return " ".join(problems) or None

    built = Application(
        asgi=traced_app(
            create_app(
                tasks=service,
                claims=broker,
                recurring_tasks=recurring_tasks,
                defaults=request_defaults(settings),
                users=_users(settings),
                probes=Probes(
                    readiness=readiness,
                    leadership=election.elector.leadership,
                    warnings=lambda: [*election.warnings(), *built.blocks],
                ),
                clock=clock,
                access_log=settings.logging.access,
                slow_after=settings.logging.slow_request.total_seconds(),
                figures=figures(
                    settings.metrics,
                    metrics,
                    find_backlogs=backlogs(settings, connection, clock).read,
                    clock=clock,
                    background=background,
                ),
            ),
            apm,
        ),
        broker=broker,
        presence=presence,
        background=BackgroundService(
            elector=election.elector,
            clock_check=election.clock_check,
            chores=traced_chores(chores, apm),
            loops=(traced_scheduler(scheduler, apm),),
            clock=clock,
            random=random,
            observer=told.chores,
        ),
        client=client,
        names=names,
        _writer=writer,
        _reader=reader,
        _background=background,
        _settings=settings,
        _metrics=metrics,
        _is_leader=election.elector.is_leader,
    )
    return built


def _users(settings: ServerSettings) -> dict[str, str]:
    if settings.auth is None:
        return {}
    return {user.name: user.password.get_secret_value() for user in settings.auth.basic_auth}
