"""The application that an ASGI server runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from tasques.api.access_log import AccessLog
from tasques.api.auth import BasicAuth
from tasques.api.batches import BatchHandlers, batch_routes
from tasques.api.compression import GzipOnDemand
from tasques.api.document import api_document
from tasques.api.documentation import documentation_routes
from tasques.api.errors import install_error_handlers
from tasques.api.health import Probes, health_routes
from tasques.api.lean_route import LeanRoutes
from tasques.api.metrics import Figures, metrics_route
from tasques.api.paths import EncodedPaths, install_fallback
from tasques.api.recurring_tasks import RecurringTaskHandlers, recurring_task_routes
from tasques.api.requests import RequestDefaults
from tasques.api.tasks import TaskHandlers, task_routes
from tasques.domain.ports import Clock
from tasques.services.claims import ClaimBroker
from tasques.services.recurring_tasks import RecurringTaskService
from tasques.services.tasks import TaskService


def create_app(
    *,
    tasks: TaskService,
    claims: ClaimBroker,
    recurring_tasks: RecurringTaskService,
    defaults: RequestDefaults,
    users: Mapping[str, str],
    probes: Probes,
    clock: Clock,
    access_log: bool,
    slow_after: float = 0.0,
    figures: Figures | None = None,
) -> ASGIApp:
    """Build the HTTP side of the server.

    Args:
        tasks: the use cases of single tasks.
        claims: hands out tasks.
        recurring_tasks: the use cases of recurring tasks.
        defaults: what requests get that do not say otherwise.
        users: names and their passwords; without any, everybody may use the API.
        probes: tell how the server is.
        clock: for what is due now, and for durations in the access log.
        access_log: whether every request is logged.
        slow_after: seconds from which on a request other than a claim is slow; 0 is never.
        figures: what is counted; nothing is without.
    """
    auth = BasicAuth(users)
    app = FastAPI(
        openapi_url=None,  # served with Swagger UI's files, from here
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    lean = [
        *task_routes(TaskHandlers(tasks, claims, defaults, clock), auth),
        *batch_routes(BatchHandlers(tasks, defaults, clock), auth),
        *recurring_task_routes(RecurringTaskHandlers(recurring_tasks, defaults, clock), auth),
    ]
    app.router.routes.extend(lean)
    app.include_router(health_routes(probes))
    if figures is not None:
        app.include_router(metrics_route(figures, auth))
    app.router.routes.extend(
        documentation_routes(lambda: api_document(app.routes, version("tasques")))
    )
    install_error_handlers(app)
    install_fallback(app)
    return AccessLog(
        EncodedPaths(GzipOnDemand(LeanRoutes(lean, otherwise=app))),
        clock,
        enabled=access_log,
        slow_after=slow_after,
        on_answered=figures.answered if figures is not None else None,
    )
