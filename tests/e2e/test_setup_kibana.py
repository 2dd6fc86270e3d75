"""`tasques setup` and Kibana."""

from __future__ import annotations

import base64
import ssl
from contextlib import closing
from socket import create_server

import pytest
import trustme
from elasticsearch import Elasticsearch
from fake_kibana import FakeKibana, serving
from processes import run, running

from tasques.kibana.contents import saved_objects

pytestmark = pytest.mark.elasticsearch

SECRET = "s3cret-pässword"
BASIC = f"Basic {base64.b64encode(f'kim:{SECRET}'.encode()).decode()}"
USER = {"kibana.user.name": "kim", "kibana.user.password": SECRET}


@pytest.fixture
def kibana():
    with serving(FakeKibana()) as kibana:
        yield kibana


@pytest.fixture
def settings(elasticsearch_url, prefix, kibana):
    return {
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "kibana.address": kibana.url,
        "kibana.start_timeout": "0s",
    }


def keys(prefix):
    return {(each["type"], each["id"]) for each in saved_objects(prefix)}


def has_tasks(url, prefix):
    with Elasticsearch(url) as client:
        return bool(client.indices.exists_alias(name=f"{prefix}-tasks"))


def test_the_dashboards_come_after_elasticsearch(
    tmp_path, settings, kibana, prefix, elasticsearch_url
):
    """A second set-up writes over what is there."""
    found = []
    kibana.on_import = lambda: found.append(has_tasks(elasticsearch_url, prefix))

    first = run("setup", folder=tmp_path, settings=settings).stdout
    second = run("setup", folder=tmp_path, settings=settings).stdout

    assert found == [True, True]
    assert kibana.spaces["default"].keys() == keys(prefix)
    assert kibana.overwritten == len(keys(prefix))
    assert f"created: index {prefix}-tasks-v1" in first
    imported = f"imported: {len(keys(prefix))} objects into the space default"
    assert first.splitlines()[-1] == f"{imported} of Kibana at {kibana.url}"
    assert second.startswith("Everything was there already.\nimported: ")


def test_two_installations_share_a_kibana(tmp_path, settings, kibana, prefix):
    other = settings | {"elasticsearch.index_prefix": f"{prefix}-b"}
    for each in (settings, other):
        run("setup", folder=tmp_path, settings=each)

    assert kibana.spaces["default"].keys() == keys(prefix) | keys(f"{prefix}-b")
    assert kibana.overwritten == 0


@pytest.mark.parametrize(
    ("given", "header"), [(USER, BASIC), ({"kibana.api_key": "S3CRETkey=="}, "ApiKey S3CRETkey==")]
)
def test_a_space_gets_them_from_whoever_is_allowed(tmp_path, settings, kibana, given, header):
    kibana.authorization = header
    kibana.spaces["team-1"] = {}
    settings |= given | {"kibana.space": "team-1"}

    run("setup", "--only-kibana", folder=tmp_path, settings=settings)

    assert kibana.spaces["team-1"]
    assert kibana.spaces["default"] == {}


def test_a_kibana_that_starts_is_waited_for(tmp_path, settings):
    """One on which nobody listens yet, and which then is not ready for a while."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    settings |= {"kibana.address": f"http://127.0.0.1:{port}", "kibana.start_timeout": "60s"}
    with running("setup", folder=tmp_path, settings=settings) as setup:
        setup.wait_for(lambda: "waiting for Kibana" in setup.output, "it waits")
        with serving(FakeKibana(starting=3), port=port) as kibana:
            assert setup.process.wait(60) == 0
            setup.is_over = True

    assert "it answers 503" in setup.output
    assert kibana.starting == 0
    assert kibana.spaces["default"]


def test_a_set_up_that_waits_for_kibana_can_be_stopped(tmp_path, settings, kibana):
    """Whoever goes on with `tasques server` sees that it is not complete."""
    kibana.starting = 10**9
    settings |= {"kibana.start_timeout": "1h"}
    with running("setup", folder=tmp_path, settings=settings) as setup:
        setup.wait_for(lambda: "waiting for Kibana" in setup.output, "it waits")
        setup.process.terminate()
        assert setup.process.wait(60) == 1
        setup.is_over = True
    assert "Stopped before the set-up was complete" in setup.output


def refusing(kibana, settings):
    """For each failure: how Kibana or the settings come to it, and what is said."""
    return {
        "password": ({"authorization": BASIC}, {"kibana.user.password": "wr0ng"}, "credentials"),
        "stranger": ({"authorization": BASIC}, dict.fromkeys(USER), "set kibana.user"),
        "privilege": ({"may_import": False}, {}, "Saved Objects Management in the space default"),
        "space": ({}, {"kibana.space": "nowhere"}, "no space nowhere"),
        "old": ({"version": "8.11.4"}, {}, "Kibana 8.11.4 is too old"),
        "down": ({"starting": 10**9}, {}, "is not ready after 0 s: it answers 503"),
        "path": ({}, {"kibana.address": f"{kibana.url}/kibana"}, "needs the base path"),
        "elsewhere": ({}, {"kibana.address": settings["elasticsearch.addresses"]}, "is no Kibana"),
    }


@pytest.mark.parametrize(
    "failure",
    ["password", "stranger", "privilege", "space", "old", "down", "path", "elsewhere"],
)
def test_a_failing_kibana_is_explained_and_elasticsearch_is_set_up(
    tmp_path, settings, kibana, prefix, elasticsearch_url, failure
):
    behaviour, changes, told = refusing(kibana, settings)[failure]
    for name, value in behaviour.items():
        setattr(kibana, name, value)
    given = {name: value for name, value in (USER | changes).items() if value is not None}

    done = run("setup", folder=tmp_path, settings=settings | given, code=1)

    assert told in done.stderr
    assert "Elasticsearch is set up" in done.stderr
    assert "created" in done.stdout
    assert has_tasks(elasticsearch_url, prefix)
    assert kibana.spaces == {"default": {}}
    for secret in (SECRET, "wr0ng", BASIC.split()[1]):
        assert secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_object_that_was_not_imported_is_named(tmp_path, settings, kibana, prefix):
    lost = {"type": "missing_references", "references": [{"type": "index-pattern", "id": "x"}]}
    kibana.broken = {
        ("search", f"{prefix}-dead"): lost,
        ("dashboard", f"{prefix}-overview"): {
            "type": "unknown",
            "statusCode": 400,
            "message": "[attributes.x]: definition\nfor this key is missing",
        },
    }

    done = run("setup", folder=tmp_path, settings=settings, code=1)

    assert f"\n  search {prefix}-dead: missing_references (index-pattern x)\n" in done.stderr
    assert (
        f"\n  dashboard {prefix}-overview: unknown "
        "([attributes.x]: definition for this key is missing, 400)\n"
    ) in done.stderr


def test_a_certificate_of_ones_own_authority_is_verified(tmp_path, settings):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with serving(FakeKibana(), tls=tls) as kibana:
        settings |= {"kibana.address": kibana.url}
        trusting = settings | {"kibana.ca_file": tmp_path / "ca.pem"}
        careless = settings | {"kibana.verify_certificates": False}

        doubting = run("setup", folder=tmp_path, settings=settings, code=1)
        assert "can not be trusted, see kibana.ca_file" in doubting.stderr
        assert kibana.requests == []
        for each in (trusting, careless):
            run("setup", folder=tmp_path, settings=each)
        assert kibana.overwritten > 0


@pytest.mark.parametrize(("content", "told"), [(None, "Can not read"), ("x", "no certificate")])
def test_authorities_that_can_not_be_read_are_named(tmp_path, settings, content, told):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    done = run("setup", folder=tmp_path, settings=settings | {"kibana.ca_file": file}, code=1)

    assert told in done.stderr
    assert str(file) in done.stderr


def test_kibana_is_left_alone_where_that_is_wanted(tmp_path, settings, kibana):
    run("setup", "--skip-kibana", folder=tmp_path, settings=settings)
    run("setup", folder=tmp_path, settings=settings | {"kibana.address": ""})
    with running(
        "server", "--setup", folder=tmp_path, settings=settings | {"bind_address": "127.0.0.1:0"}
    ) as server:
        server.wait_until_ready()

    assert kibana.requests == []


def test_elasticsearch_is_left_alone_where_that_is_wanted(
    tmp_path, settings, kibana, prefix, elasticsearch_url
):
    done = run("setup", "--only-kibana", folder=tmp_path, settings=settings)

    assert done.stdout.startswith("imported: ")
    assert kibana.spaces["default"]
    assert not has_tasks(elasticsearch_url, prefix)

    nowhere = settings | {"kibana.address": ""}
    failed = run("setup", "--only-kibana", folder=tmp_path, settings=nowhere, code=1)
    assert "set kibana.address" in failed.stderr
    run("setup", "--only-kibana", "--skip-kibana", folder=tmp_path, settings=settings, code=2)


def test_an_elasticsearch_that_fails_comes_first(tmp_path, settings, kibana):
    with closing(create_server(("127.0.0.1", 0))) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"

    failed = run(
        "setup", folder=tmp_path, settings=settings | {"elasticsearch.addresses": nobody}, code=1
    )

    assert "Elasticsearch does not answer" in failed.stderr
    assert kibana.requests == []
