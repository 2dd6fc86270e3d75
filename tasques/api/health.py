"""Probes. They are open to everybody, because whoever probes has no password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse

from tasques.api import schemas

Readiness = Callable[[], Awaitable[str | None]]
"""Says why the server can not do its work now; None when it can."""

LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": schemas.Error, "description": "It can not; the message says why."}
}


def health_routes(readiness: Readiness) -> APIRouter:
    """The routes that tell an orchestrator how the server is."""
    router = APIRouter(tags=["health"])

    @router.get(LIVE_PATH, operation_id="check-liveness", summary="Is the process alive?")
    async def live() -> schemas.Health:
        """Always yes: whoever gets no answer should restart the server."""
        return schemas.Health(status="live")

    @router.get(
        READY_PATH,
        operation_id="check-readiness",
        summary="Can requests be served?",
        response_model=schemas.Health,
        responses=_NOT_READY,
    )
    async def ready() -> JSONResponse:
        """Yes, if Elasticsearch answers and is set up."""
        reason = await readiness()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"message": reason, "code": "not_ready"}, 503)

    return router
