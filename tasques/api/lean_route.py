"""Routes that FastAPI matches and documents, but does not run.

FastAPI's own way from a request to an endpoint costs more than everything that the server does
for a task, so the hot routes have a plain ASGI function instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tasques.api import examples, schemas
from tasques.api.answers import Answer
from tasques.api.auth import BasicAuth
from tasques.api.connection import ClientGoneError
from tasques.api.delivery import deliver
from tasques.api.errors import error_answer
from tasques.api.operations import Operation
from tasques.domain.errors import TasquesError

Handler = Callable[[Scope, Receive], Awaitable[Answer]]

TASKS: Final = "tasques.tasks"
"""The key in a scope under which the tasks are that the answer is about."""

_ALWAYS_POSSIBLE: Final = (401, 500, 503)


class LeanRoute(APIRoute):
    """A route for users only, that is run by a `Handler`.

    The handler's errors are answered by their status; if the client is gone, nothing is.
    """

    def __init__(self, operation: Operation, handler: Handler, auth: BasicAuth) -> None:
        super().__init__(
            operation.path,
            operation.endpoint,
            methods=[operation.method],
            operation_id=operation.id,
            tags=[operation.tag],
            summary=operation.summary,
            status_code=operation.status,
            response_model=operation.model,
            response_description=operation.outcome,
            responses=_documented_answers(operation),
            openapi_extra=_documented_request(operation) | {"security": auth.documented},
        )

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                auth.check(scope["headers"])
                answer = await handler(scope, receive)
            except TasquesError as error:
                answer = error_answer(error)
            except ClientGoneError:
                return
            scope[TASKS] = answer.tasks
            await deliver(receive, send, answer)

        self.app = app


class LeanRoutes:
    """Runs lean routes at once, without the middleware that the others need.

    They catch their own errors; the application that they are in is asked for everything else,
    also for what to answer when no route fits.
    """

    def __init__(self, routes: Sequence[LeanRoute], otherwise: ASGIApp) -> None:
        self._otherwise = otherwise
        self._by_path: dict[tuple[str, str], LeanRoute] = {}
        self._by_method: dict[str, list[LeanRoute]] = {}
        for route in routes:
            for method in route.methods or ():
                if route.param_convertors:
                    self._by_method.setdefault(method, []).append(route)
                else:
                    self._by_path[method, route.path] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not scope["root_path"]:
            route = self._find(scope)
            if route is not None:
                scope["route"] = route
                await route.app(scope, receive, send)
                return
        await self._otherwise(scope, receive, send)

    def _find(self, scope: Scope) -> LeanRoute | None:
        method, path = scope["method"], scope["path"]
        route = self._by_path.get((method, path))
        if route is not None:
            return route
        for route in self._by_method.get(method, ()):
            if match := route.path_regex.match(path):
                scope["path_params"] = {
                    name: route.param_convertors[name].convert(value)
                    for name, value in match.groupdict().items()
                }
                return route
        return None


def _documented_request(operation: Operation) -> dict[str, Any]:
    if operation.request is None:
        return {}
    return {"requestBody": {"content": {"application/json": {"example": operation.request}}}}


def _documented_answers(operation: Operation) -> dict[int | str, dict[str, Any]]:
    answers: dict[int | str, dict[str, Any]] = {
        operation.status: {"content": {"application/json": {"example": operation.answer}}}
    }
    for status in sorted({*operation.errors, *_ALWAYS_POSSIBLE}):
        description, example = {**examples.ERRORS, **operation.error_examples}[status]
        answers[status] = {
            "model": schemas.Error,
            "description": description,
            "content": {"application/json": {"example": example}},
        }
    return answers
