"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse

from tasques.api import examples, schemas
from tasques.api.auth import BasicAuth

METRICS_PATH: Final = "/metrics"
_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"

_NO_USER: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": schemas.Error, "description": examples.ERRORS[401][0]}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is counted.

    Attributes:
        render: writes the figures in Prometheus' text format.
        answered: is told of the method, the route's template, the status and the seconds of each
            request.
        public: whether those may read the figures who are no users.
    """

    render: Callable[[], Awaitable[bytes]]
    answered: Callable[[str, str | None, int, float], None]
    public: bool


def metrics_route(figures: Figures, auth: BasicAuth) -> APIRouter:
    """The route that shows the figures."""
    router = APIRouter(tags=["metrics"])
    for_users = {} if figures.public else {"security": auth.documented}

    @router.get(
        METRICS_PATH,
        operation_id="get-metrics",
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        response_description="The figures in Prometheus' text format.",
        openapi_extra=for_users,
        responses={} if figures.public else _NO_USER,
    )
    async def metrics(request: Request) -> PlainTextResponse:
        """What has happened since the server was started, and what is the case now."""
        if not figures.public:
            auth.check(request.scope["headers"])
        return PlainTextResponse(await figures.render(), media_type=_FORMAT)

    return router
