from __future__ import annotations

from urllib.parse import quote

import pytest
from factories import a_task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_memory_api import build

WORKER = {"X-TASQUES-WORKER-ID": "worker-1"}
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda task_id: task_id not in {".", ".."}
)


async def request(app, method, raw_path, *, query=b"", body=b"", headers=()):
    """Call the application with the very bytes of a path; returns status, headers and body."""
    messages = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        messages.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "must not be looked at",
        "raw_path": raw_path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
    }
    await app(scope, receive, send)
    start, content = messages
    return start["status"], dict(start["headers"]), content["body"]


@given(ids)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
async def test_any_id_can_be_used_in_a_path(client, api, task_id):
    created = await client.post("/tasques", json={"id": task_id, "queue": "mail", "kind": "send"})
    got = await client.get(f"/tasques/mail/{quote(task_id, safe='')}")

    assert got.status_code == 200
    assert got.json()["id"] == task_id
    assert created.status_code in {201, 409}  # hypothesis may repeat itself


@pytest.mark.parametrize(
    "task_id",
    [
        "kg/s",
        "a%2Fb",
        "a?x=1",
        "a#x",
        "a b",
        "claims",
        "ü/ñ",
        "a:b",
        "A",
        "a",
        "0",
        "/",
        "//",
        "a/",
    ],
)
@pytest.mark.parametrize("last", ["done", "failed", "unclaim"])
async def test_a_task_with_any_id_lives_its_life_over_its_path(client, api, task_id, last):
    encoded = quote(task_id, safe="")
    await client.post("/tasques", json={"id": task_id, "queue": "mail", "kind": "send"})
    await client.post("/tasques/claims", json={"queues": ["mail"]}, headers=WORKER)

    reported = await client.put(f"/tasques/reports/mail/{encoded}", json={}, headers=WORKER)
    if last == "unclaim":
        ended = await client.delete(f"/tasques/claims/mail/{encoded}", headers=WORKER)
    else:
        ended = await client.put(f"/tasques/{last}/mail/{encoded}", json={}, headers=WORKER)

    assert (reported.status_code, ended.status_code) == (200, 200)
    assert ended.json()["id"] == task_id


async def test_encoded_and_doubly_encoded_ids_are_different_tasks(client, api):
    api.repository.store(a_task(id="kg/s", kind="slash"))
    api.repository.store(a_task(id="kg%2Fs", kind="percent"))

    assert (await client.get("/tasques/mail/kg%2Fs")).json()["kind"] == "slash"
    assert (await client.get("/tasques/mail/kg%2fs")).json()["kind"] == "slash"
    assert (await client.get("/tasques/mail/kg%252Fs")).json()["kind"] == "percent"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/tasques/Mail/t", "queue: must be in lower case"),
        ("/tasques/ma%20il/t", "queue: must not contain ' '"),
        ("/tasques/a%2Fb/t", "queue: must not contain '/'"),
        ("/tasques/mail/%FF", "id: must be valid Unicode"),
        ("/tasques/mail/%zz", "id: must be valid Unicode"),
        ("/tasques/mail/100%", "id: must be valid Unicode"),
        ("/tasques/mail/" + "x" * 361, "id: must not have more than 360 bytes, has 361"),
    ],
)
async def test_a_bad_name_in_a_path_is_refused(path, problem):
    status, _, body = await request(build().app, "GET", path)

    assert status == 400
    assert problem in body.decode()


@pytest.mark.parametrize("name", ["%2E", "%2E%2E", ".", ".."])
async def test_ids_that_clients_fold_away_are_refused(name):
    status, _, _ = await request(build().app, "GET", f"/tasques/mail/{name}")

    assert status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nope"),
        ("GET", "/tasques"),
        ("DELETE", "/tasques"),
        ("PATCH", "/tasques/mail/t"),
        ("PUT", "/tasques/mail/t"),
        ("HEAD", "/tasques/mail/t"),
        ("OPTIONS", "/tasques"),
        ("POST", "/tasques/claims/mail/t"),
        ("GET", "/TASQUES/mail/t"),
        ("GET", "/tasques/mail/t/more"),
        ("GET", "/tasques/"),
        ("GET", "/tasques/mail/"),
        ("GET", "/nope/"),
        ("BREW", "/tasques/mail/t"),
    ],
)
async def test_what_no_route_answers_is_not_found(method, path):
    status, headers, body = await request(build().app, method, path)

    assert status == 404
    assert headers[b"content-type"] == b"application/json"
    assert b'"code":"no_such_route"' in body


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "location"),
    [
        ("POST", "/tasques/", b"", 307, b"/tasques"),
        ("POST", "/tasques/claims/", b"", 307, b"/tasques/claims"),
        ("GET", "/tasques/mail/t/", b"a=b", 301, b"/tasques/mail/t?a=b"),
        ("GET", "/tasques/mail/a%2Fb/", b"", 301, b"/tasques/mail/a%2Fb"),
        ("DELETE", "/tasques/claims/mail/t/", b"", 307, b"/tasques/claims/mail/t"),
        ("GET", "/docs/", b"", 301, b"/docs"),
    ],
)
async def test_a_slash_too_many_is_redirected_before_users_are_asked_for(
    method, path, query, status, location
):
    app = build(users={"user": "password"}).app

    got, headers, _ = await request(app, method, path, query=query)

    assert (got, headers[b"location"]) == (status, location)


@pytest.mark.parametrize("path", ["//tasques/mail/t", "/tasques//mail///t", "///tasques/mail/t"])
async def test_repeated_slashes_are_one(path):
    api = build()
    api.repository.store(a_task(id="t"))

    status, _, _ = await request(api.app, "GET", path)

    assert status == 200


async def test_a_redirect_never_leads_to_another_site():
    status, headers, _ = await request(build().app, "GET", "//tasques/mail/t/")

    assert (status, headers[b"location"]) == (301, b"/tasques/mail/t")


async def test_the_query_is_ignored():
    api = build()
    api.repository.store(a_task(id="t"))

    status, _, _ = await request(api.app, "GET", "/tasques/mail/t", query=b"pretty&x=%zz")

    assert status == 200
