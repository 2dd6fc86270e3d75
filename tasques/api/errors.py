"""How errors are answered: a status for each kind, and one body for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tasques.api.answers import Answer, json_answer
from tasques.domain.errors import (
    BrokenRecurringTaskError,
    CorruptDocumentError,
    InvalidRequestError,
    InvalidStateError,
    NotOwnedByWorkerError,
    RecurringTaskAlreadyExistsError,
    RecurringTaskNotFoundError,
    TaskAlreadyExistsError,
    TaskNotFoundError,
    TasquesError,
    TooLargeError,
    UnavailableError,
    VersionConflictError,
)

log = logging.getLogger(__name__)


class NotAuthenticatedError(TasquesError):
    """Users are configured, and the request does not come from one of them."""

    code = "not_authenticated"

    def __init__(self) -> None:
        super().__init__("A user name and a password that this server knows are needed.")


STATUS_OF: Final[Mapping[type[TasquesError], int]] = {
    InvalidRequestError: 400,
    TooLargeError: 413,
    InvalidStateError: 400,
    NotAuthenticatedError: 401,
    NotOwnedByWorkerError: 403,
    TaskNotFoundError: 404,
    TaskAlreadyExistsError: 409,
    RecurringTaskNotFoundError: 404,
    RecurringTaskAlreadyExistsError: 409,
    BrokenRecurringTaskError: 409,
    VersionConflictError: 409,
    UnavailableError: 503,
    CorruptDocumentError: 500,
    TasquesError: 500,
}
"""The status of an error is that of the nearest class in its MRO."""

NO_SUCH_ROUTE: Final = json_answer(404, {"message": "No such route.", "code": "no_such_route"})
INTERNAL_ERROR: Final = json_answer(
    500, {"message": "Something went wrong in this server.", "code": "internal_error"}
)
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="Tasques", charset="UTF-8"')


def error_answer(error: TasquesError) -> Answer:
    """The answer to a request that ended with `error`."""
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    if status == 500:
        log.error("a request failed", exc_info=error)
        return INTERNAL_ERROR
    return json_answer(status, {"message": str(error), "code": error.code}, _headers(error))


def _headers(error: TasquesError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, UnavailableError):
        return ((b"retry-after", b"%d" % error.retry_after),)
    if isinstance(error, NotAuthenticatedError):
        return (_CHALLENGE,)
    return ()


def install_error_handlers(app: FastAPI) -> None:
    """Make the ordinary routes of `app` answer errors as the lean ones do."""
    app.add_exception_handler(TasquesError, _on_tasques_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unknown_error)


async def _on_tasques_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, TasquesError):
        raise error
    return _response(error_answer(error))


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [
        f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return _response(error_answer(InvalidRequestError(*problems)))


async def _on_http_exception(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code in {404, 405}:  # the clients know no 405
        return _response(NO_SUCH_ROUTE)
    code = HTTPStatus(error.status_code).name.lower()
    return _response(json_answer(error.status_code, {"message": error.detail, "code": code}))


async def _on_unknown_error(_: Request, __: Exception) -> Response:
    return _response(INTERNAL_ERROR)  # whoever called the application logs what it was


def _response(answer: Answer) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type="application/json")
