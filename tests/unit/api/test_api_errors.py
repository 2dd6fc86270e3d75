from __future__ import annotations

import json
import logging

import httpx
import pytest
from fakes import Operation
from fastapi import FastAPI, HTTPException

from tasques.api.errors import STATUS_OF, error_answer, install_error_handlers
from tasques.domain.errors import (
    CorruptDocumentError,
    StoreBlockedError,
    TasquesError,
    TooLargeError,
    UnresolvedWriteError,
    VersionConflictError,
)


def every_subclass(cls):
    return [cls, *(below for child in cls.__subclasses__() for below in every_subclass(child))]


@pytest.mark.parametrize("error", every_subclass(TasquesError))
def test_every_error_has_a_status_and_a_code(error):
    status = next(STATUS_OF[cls] for cls in error.__mro__ if cls in STATUS_OF)

    assert status in {400, 401, 403, 404, 409, 413, 500, 503}
    assert error.code


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TooLargeError("x"), 413, "too_large"),
        (VersionConflictError("q", "t"), 409, "version_conflict"),
        (UnresolvedWriteError("q", "t"), 503, "outcome_unknown"),
        (CorruptDocumentError("q:t", "secret"), 500, "internal_error"),
        (TasquesError("secret"), 500, "internal_error"),
    ],
)
def test_an_error_is_answered_by_its_kind(error, status, code):
    answer = error_answer(error)

    assert answer.status == status
    body = json.loads(answer.body)
    assert set(body) == {"message", "code"}
    assert body["code"] == code
    assert "secret" not in body["message"]


def test_who_can_not_be_served_now_is_told_when():
    assert (b"retry-after", b"5") in error_answer(StoreBlockedError("full")).headers


async def test_a_bug_is_answered_without_details_and_logged_with_them(client, api, caplog):
    caplog.set_level(logging.ERROR)
    api.repository.fail_next(ZeroDivisionError("a secret detail"), of=Operation.GET)

    answer = await client.get("/tasques/mail/t")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "message": "Something went wrong in this server.",
        "code": "internal_error",
    }
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_bug_in_a_probe_is_answered_in_the_same_way(client, api, caplog):
    caplog.set_level(logging.ERROR)
    api.not_ready = ZeroDivisionError("a secret detail")

    answer = await client.get("/health/ready")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


@pytest.fixture
async def ordinary():
    """A client of an application with routes that FastAPI runs."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/numbers/{number}")
    async def get_number(number: int, more: int) -> int:
        return number + more

    @app.get("/refusals/{status}")
    async def refuse(status: int) -> None:
        raise TooLargeError("Too much.") if status == 0 else HTTPException(status, "No.")

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("/numbers/x?more=y", 400, "invalid_request", "number: "),
        ("/numbers/1", 400, "invalid_request", "more: "),
        ("/refusals/0", 413, "too_large", "Too much."),
        ("/refusals/404", 404, "no_such_route", "No such route."),
        ("/refusals/405", 404, "no_such_route", "No such route."),
        ("/refusals/400", 400, "bad_request", "No."),
    ],
)
async def test_ordinary_routes_refuse_as_the_lean_ones_do(ordinary, path, status, code, message):
    answer = await ordinary.get(path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == code
    assert answer.json()["message"].startswith(message)
