"""`tasques healthcheck` and the server that it is about."""

from __future__ import annotations

import signal
from contextlib import closing
from socket import create_server

import pytest
from elasticsearch import Elasticsearch
from processes import run, running, wait_until

pytestmark = pytest.mark.elasticsearch

DEAD_PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def settings(elasticsearch_url, prefix):
    """Of a server on all addresses, as in an image."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    return {
        "bind_address": f"0.0.0.0:{port}",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
    }


def test_a_server_is_healthy_as_long_as_it_is_ready(tmp_path, settings, elasticsearch_url, prefix):
    """Healthy, not set up any more, frozen, gone: each is told in one line."""

    def check(code):
        done = run(
            "healthcheck", folder=tmp_path, settings=settings, environment=DEAD_PROXY, code=code
        )
        (line,) = (done.stdout + done.stderr).splitlines()
        return line

    with running("server", "--setup", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()
        assert check(0).endswith("is ready.")

        with Elasticsearch(elasticsearch_url) as client:
            client.indices.delete_index_template(name=f"{prefix}-leader")
        assert f"The index template {prefix}-leader is missing" in check(1)

        server.process.send_signal(signal.SIGSTOP)
        try:
            assert "does not answer within" in check(1)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert "not ready" in wait_until(lambda: check(1), "it answers again")
    assert "refused" in check(1)
