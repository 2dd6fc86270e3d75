"""Probes. They are open to everybody, because whoever probes has no password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse

from tasques.api import schemas
from tasques.domain.duration import format_duration
from tasques.domain.instant import format_instant
from tasques.domain.lease import Leadership, Lease

LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"
LEADER_PATH: Final = "/health/leader"
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": schemas.Error, "description": "It can not; the message says why."}
}
_NO_LEADER: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": schemas.Error, "description": "As far as this server knows nobody leads."}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What there is to know about the server.

    Attributes:
        readiness: says why the server can not do its work now; None when it can.
        leadership: says who leads.
        warnings: says what an operator should look into although the server works.
    """

    readiness: Callable[[], Awaitable[str | None]]
    leadership: Callable[[], Leadership]
    warnings: Callable[[], Sequence[str]]


def health_routes(probes: Probes) -> APIRouter:
    """The routes that tell an orchestrator how the server is."""
    router = APIRouter(tags=["health"])

    @router.get(
        LIVE_PATH,
        operation_id="check-liveness",
        summary="Is the process alive?",
        response_model=schemas.Health,
    )
    async def live() -> JSONResponse:
        """Always yes: whoever gets no answer should restart the server."""
        return JSONResponse({"status": "live"})

    @router.get(
        READY_PATH,
        operation_id="check-readiness",
        summary="Can requests be served?",
        response_model=schemas.Health,
        responses=_NOT_READY,
    )
    async def ready() -> JSONResponse:
        """Yes, if Elasticsearch answers and is set up."""
        reason = await probes.readiness()
        if reason is None:
            return JSONResponse({"status": "ready"} | _warnings(probes))
        return JSONResponse({"message": reason, "code": "not_ready"}, 503)

    @router.get(
        LEADER_PATH,
        operation_id="get-leader",
        summary="Which server leads?",
        response_model=schemas.Leader,
        responses=_NO_LEADER,
    )
    async def leader() -> JSONResponse:
        """Of all servers one does the chores: it takes tasks back, and archives them.

        For a while after a leader was killed the others still name it.
        """
        leadership = probes.leadership()
        if leadership.lease is None:
            return JSONResponse({"message": "Nobody is known to lead.", "code": "no_leader"}, 503)
        shown = _shown(leadership.lease) | {"is_this_server": leadership.is_this_server}
        return JSONResponse(shown | _warnings(probes))

    return router


def _shown(lease: Lease) -> dict[str, Any]:
    return {
        "leader_id": lease.leader.id,
        "host": lease.leader.host,
        "pid": lease.leader.pid,
        "term": lease.term,
        "since": format_instant(lease.since),
        "lease": format_duration(lease.duration),
    }


def _warnings(probes: Probes) -> dict[str, Any]:
    """Nothing, if there are none."""
    warnings = list(probes.warnings())
    return {"warnings": warnings} if warnings else {}
