from __future__ import annotations

import logging

import pytest

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def lines(caplog):
    """The fields of each line of the access log so far."""
    caplog.set_level(logging.DEBUG, logger="tasques.api.access")

    def read(level=logging.INFO):
        return [
            {name: vars(record).get(name) for name in FIELDS}
            for record in caplog.records
            if record.name == "tasques.api.access" and record.levelno >= level
        ]

    return read


FIELDS = (
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "duration_ms",
    "trace.id",
)


async def test_each_request_has_one_line_with_the_route_and_no_path(client, lines, caplog):
    await client.get("/tasques/mail/SECRET?token=SECRET", headers={"traceparent": PARENT})

    (line,) = lines()
    assert line.pop("duration_ms") >= 0
    assert line == {
        "http.request.method": "GET",
        "http.route": "/tasques/{queue}/{id}",
        "http.response.status_code": 404,
        "trace.id": TRACE,
    }
    assert "SECRET" not in "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("POST", "/tasques", "/tasques", 400),
        ("GET", "/nope/SECRET", None, 404),
        ("GET", "/tasques/mail/t/", None, 301),
        ("PATCH", "/tasques/mail/t", "/tasques/{queue}/{id}", 404),
    ],
)
async def test_refusals_have_a_line_too(client, lines, method, path, route, status):
    await client.request(method, path, content=b"SECRET")

    (line,) = lines()
    assert (line["http.route"], line["http.response.status_code"]) == (route, status)


async def test_credentials_do_not_get_into_the_log(client_with, lines, caplog):
    header = {"authorization": "Basic c2VjcmV0OnNlY3JldA==", "x-tasques-worker-id": "SECRET\x1b[2J"}
    async with client_with(users={"anna": "secret"}) as client:
        await client.post("/tasques/claims", json={"queues": ["SECRET"]}, headers=header)

    assert [line["http.response.status_code"] for line in lines()] == [401]
    everything = "".join(str(vars(record)) for record in caplog.records)
    assert "SECRET" not in everything
    assert "c2VjcmV0" not in everything


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_probes_that_succeed_are_not_worth_a_line(client, lines, path):
    await client.get(path)

    assert lines() == []
    assert len(lines(logging.DEBUG)) == 1


async def test_a_probe_that_fails_is(client, api, lines):
    api.not_ready = "Elasticsearch does not answer."
    await client.get("/health/ready")

    (line,) = lines()
    assert line["http.response.status_code"] == 503


@pytest.mark.parametrize(
    "parent", ["", "nonsense", "00-xyz-00f067aa0ba902b7-01", f"00-{TRACE}\t-00f067aa0ba902b7-01"]
)
async def test_a_broken_trace_header_is_ignored(client, lines, parent):
    await client.get("/nope", headers={"traceparent": parent})

    (line,) = lines()
    assert line["trace.id"] is None


async def test_the_log_can_be_switched_off(client_with, lines):
    async with client_with(access_log=False) as client:
        await client.get("/nope")

    assert lines(logging.DEBUG) == []
