"""Compressed answers, for those who ask."""

from __future__ import annotations

from typing import Final

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tasques.api.headers import find_header

_MINIMUM_BYTES: Final = 1024


class GzipOnDemand:
    """Starlette's gzip, but at no cost for clients that do not ask for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(app, minimum_size=_MINIMUM_BYTES, compresslevel=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app: ASGIApp = self._app
        if scope["type"] == "http":
            accepted = find_header(scope["headers"], b"accept-encoding")
            if accepted is not None and b"gzip" in accepted:
                app = self._gzip
        await app(scope, receive, send)
