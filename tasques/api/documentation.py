"""The API document and Swagger UI, served without anything from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]

_ASSETS: Final = {
    "swagger-ui-bundle.js": ("fastapi_offline", "static/swagger-ui-bundle.js"),
    "swagger-ui.css": ("fastapi_offline", "static/swagger-ui.css"),
    "start.js": ("tasques.api", "swagger_ui/start.js"),
}
_MEDIA_TYPES: Final = {"js": "text/javascript", "css": "text/css"}
_FOR_EVER: Final = {
    "cache-control": "public, max-age=31536000, immutable",
    "vary": "Accept-Encoding",
    "x-content-type-options": "nosniff",
}
_ASK_AGAIN: Final = {"cache-control": "no-cache"}
_ONLY_OUR_OWN: Final = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
}


def documentation_routes(make_document: Callable[[], dict[str, Any]]) -> list[Route]:
    """Routes that serve the API document, and Swagger UI for it; open to everybody.

    The document is made when it is first asked for: that takes a while, and most servers never
    show it.
    """
    document_endpoint = _document_endpoint(cache(make_document))
    contents = {
        name: files(package).joinpath(path).read_bytes()
        for name, (package, path) in _ASSETS.items()
    }
    # The address changes with the contents, so browsers may keep them for ever.
    assets = f"docs/assets/{hashlib.sha256(b''.join(contents.values())).hexdigest()[:16]}"
    return [
        _route("/openapi.json", document_endpoint),
        _route("/swagger/doc.json", document_endpoint),
        _route("/docs", _page_endpoint(".", assets)),
        _route("/swagger/index.html", _page_endpoint("..", assets)),
        *(
            _route(f"/{assets}/{name}", _asset_endpoint(name, body))
            for name, body in contents.items()
        ),
    ]


def _route(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["GET"], include_in_schema=False)


def _document_endpoint(make_document: Callable[[], dict[str, Any]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        servers = [{"url": request.scope.get("root_path") or "/"}]
        body = orjson.dumps(make_document() | {"servers": servers})
        return Response(body, headers=_ASK_AGAIN, media_type="application/json")

    return endpoint


def _page_endpoint(root: str, assets: str) -> Endpoint:
    template = Template(files("tasques.api").joinpath("swagger_ui/index.html").read_text("utf-8"))
    page = template.substitute(assets=f"{root}/{assets}", document=f"{root}/openapi.json")

    async def endpoint(_: Request) -> Response:
        return Response(page, headers=_ASK_AGAIN | _ONLY_OUR_OWN, media_type="text/html")

    return endpoint


def _asset_endpoint(name: str, body: bytes) -> Endpoint:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    async def endpoint(_: Request) -> Response:
        return Response(body, headers=_FOR_EVER, media_type=media_type)

    return endpoint
