"""Elastic APM, if it is wanted: nothing of the agent is imported or run otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp

from tasques.background.chore import Chore
from tasques.background.scheduler import Scheduler
from tasques.repository.bulk import BulkWriter
from tasques.repository.connection import Connection
from tasques.repository.reads import DocumentReader
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.settings.model import ApmSettings, LoggingSettings

if TYPE_CHECKING:
    from tasques.observability.apm import Agent

_ADDRESS: Final = "ELASTIC_APM_SERVER_URL"
_ENABLED: Final = "ELASTIC_APM_ENABLED"
_NO: Final = frozenset({"false", "no", "0"})


def start_apm(settings: ApmSettings, environ: Mapping[str, str]) -> Agent | None:
    """Start the agent in this process; None without an address, or if it is switched off."""
    wanted = settings.address is not None or bool(environ.get(_ADDRESS))
    if not wanted or environ.get(_ENABLED, "").lower() in _NO:
        return None
    from tasques.observability.apm import Agent  # noqa: PLC0415 - costs memory if it is off

    options: dict[str, Any] = {}
    if settings.address is not None:
        options["server_url"] = settings.address
    if settings.secret_token is not None:
        options["secret_token"] = settings.secret_token.get_secret_value()
    return Agent(options, max_per_second=settings.max_traces_per_second)


def traced_app(app: ASGIApp, apm: Agent | None) -> ASGIApp:
    """The application with its requests as transactions."""
    if apm is None:
        return app
    from tasques.api.tracing import TracedRequests  # noqa: PLC0415 - as above

    return TracedRequests(app, apm.tracer)


def traced_chores(chores: Sequence[Chore], apm: Agent | None) -> Sequence[Chore]:
    """The chores with their passes as transactions."""
    if apm is None:
        return chores
    from tasques.background.tracing import TracedChore  # noqa: PLC0415 - as above

    return [TracedChore(chore, apm) for chore in chores]


def traced_scheduler(scheduler: Scheduler, apm: Agent | None) -> Scheduler:
    """The scheduler with its passes as transactions."""
    (scheduler.passes,) = traced_chores([scheduler.passes], apm)
    return scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreParts:
    """What makes the parts that talk to Elasticsearch."""

    connection: Callable[..., Connection]
    writer: Callable[..., BulkWriter] = BulkWriter
    reader: Callable[..., DocumentReader] = DocumentReader
    tasks: Callable[..., ElasticsearchTaskRepository] = ElasticsearchTaskRepository


def store_parts(settings: LoggingSettings, apm: Agent | None) -> StoreParts:
    """The parts, which make spans of their requests if that is wanted."""
    slow_after = settings.slow_elasticsearch.total_seconds()
    if apm is None:
        return StoreParts(connection=partial(Connection, slow_after=slow_after))
    from tasques.repository import tracing  # noqa: PLC0415 - as above

    return StoreParts(
        connection=partial(tracing.TracedConnection, tracer=apm.tracer, slow_after=slow_after),
        writer=partial(tracing.TracedBulkWriter, tracer=apm.tracer),
        reader=partial(tracing.TracedDocumentReader, tracer=apm.tracer),
        tasks=partial(tracing.TracedTaskRepository, tracer=apm.tracer),
    )
