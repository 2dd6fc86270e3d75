"""Paths as they were sent: an encoded slash is part of a name, not a border between names."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tasques.api.answers import send_answer
from tasques.api.errors import NO_SUCH_ROUTE

_BARE_PERCENT: Final = re.compile("%(?![0-9a-fA-F]{2})")
_SLASHES: Final = re.compile("/{2,}")


class Segment(Convertor[str]):
    """One part of a path, percent-encoded.

    What is not encoded well becomes lone surrogates, which no name may have: two spellings of a
    path must not lead to one task.
    """

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """Decode."""
        if "%" not in value:
            return value
        return unquote(_BARE_PERCENT.sub("\udc25", value), errors="surrogateescape")

    def to_string(self, value: str) -> str:
        """Encode."""
        return quote(value, safe="")


register_url_convertor("segment", Segment())


class EncodedPaths:
    """Has requests routed by the path that was sent, with repeated slashes made one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            raw = scope.get("raw_path")
            path = raw.decode("latin-1") if raw else quote(scope["path"])
            scope["path"] = _SLASHES.sub("/", path) if "//" in path else path
        await self._app(scope, receive, send)


def install_fallback(app: FastAPI) -> None:
    """Answer what no route of `app` matches: 404, or a redirect when only a slash is too many."""
    router = app.router
    otherwise = router.default

    async def fall_back(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await otherwise(scope, receive, send)
            return
        shorter = scope["path"].rstrip("/")
        if get_route_path(scope) not in {"", "/"} and scope["path"] != shorter:
            there = {**scope, "path": shorter}
            if any(route.matches(there)[0] is Match.FULL for route in router.routes):
                await _redirect(scope, shorter)(scope, receive, send)
                return
        await send_answer(send, NO_SUCH_ROUTE)

    router.default = fall_back


def _redirect(scope: Scope, path: str) -> Response:
    query = scope["query_string"].decode("latin-1")
    status = 301 if scope["method"] == "GET" else 307
    return Response(None, status, {"location": f"{path}?{query}" if query else path})
