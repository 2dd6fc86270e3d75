from __future__ import annotations

import base64

import pytest
from factories import a_task

USERS = {"anna": "secret", "júlia": "contrasenya: é", "empty": ""}


def basic(credentials, *, scheme="Basic", encoding="utf-8"):
    encoded = base64.b64encode(credentials.encode(encoding)).decode()
    return {"authorization": f"{scheme} {encoded}"}


@pytest.mark.parametrize(
    "headers",
    [
        basic("anna:secret"),
        basic("anna:secret", scheme="basic"),
        basic("anna:secret", scheme="BASIC "),
        basic("júlia:contrasenya: é"),
        basic("júlia:contrasenya: é", encoding="latin-1"),
        basic("empty:"),
    ],
)
async def test_a_user_is_let_in(client_with, headers):
    async with client_with(users=USERS, headers=headers) as client:
        answer = await client.get("/tasques/mail/t")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic YW5uYTpzZWNyZXQ"},  # without padding
        {"authorization": "Bearer YW5uYTpzZWNyZXQ="},
        {"authorization": "YW5uYTpzZWNyZXQ="},
        basic("anna:wrong"),
        basic("anna:secret "),
        basic("Anna:secret"),
        basic("anna"),
        basic("nobody:secret"),
        basic(":secret"),
        basic("anna:"),
    ],
)
async def test_a_stranger_is_not(client_with, headers):
    async with client_with(users=USERS, headers=headers) as client:
        answer = await client.get("/tasques/mail/t")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tasques"),
        ("GET", "/tasques/Mail/t"),
        ("POST", "/tasques/claims"),
        ("DELETE", "/tasques/claims/Mail/t"),
        ("PUT", "/tasques/reports/Mail/t"),
        ("PUT", "/tasques/done/Mail/t"),
        ("PUT", "/tasques/failed/Mail/t"),
    ],
)
async def test_who_it_is_is_asked_before_anything_else(client_with, method, path):
    async with client_with(users=USERS) as client:
        answer = await client.request(method, path, content=b"no json")

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/docs", 200),
        ("/swagger/index.html", 200),
        ("/openapi.json", 200),
        ("/nope", 404),
        ("/tasques/mail/t/", 301),
    ],
)
async def test_what_is_for_everybody_stays_open(client_with, path, status):
    async with client_with(users=USERS) as client:
        assert (await client.get(path)).status_code == status


async def test_without_users_everybody_is_let_in(client, api):
    api.repository.store(a_task(id="t"))

    assert (await client.get("/tasques/mail/t")).status_code == 200
    assert (await client.get("/tasques/mail/t", headers=basic("a:b"))).status_code == 200
