"""Elastic APM, if it is wanted: nothing of the agent is imported or run otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp

from tasques.background.chore import Chore
from tasques.settings.model import ApmSettings

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
    return Agent(options)


def traced_app(app: ASGIApp, apm: Agent | None) -> ASGIApp:
    """The application with its requests as transactions."""
    if apm is None:
        return app
    from tasques.api.tracing import TracedRequests  # noqa: PLC0415 - as above

    return TracedRequests(app, apm)


def traced_chores(chores: Sequence[Chore], apm: Agent | None) -> Sequence[Chore]:
    """The chores with their passes as transactions."""
    if apm is None:
        return chores
    from tasques.background.tracing import TracedChore  # noqa: PLC0415 - as above

    return [TracedChore(chore, apm) for chore in chores]
