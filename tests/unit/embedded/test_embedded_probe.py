from __future__ import annotations

import socket

import pytest

from tasques.embedded import Cluster
from tasques.embedded.errors import InvalidOptionError, PortTakenError
from tasques.embedded.probe import answers, require_free


@pytest.fixture
def listener():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def test_a_port_where_somebody_listens_is_taken(listener):
    port = listener.getsockname()[1]

    with pytest.raises(PortTakenError, match=f"port {port} is taken") as caught:
        require_free(port)

    assert caught.value.port == port


def test_a_port_that_was_given_back_is_free(listener):
    port = listener.getsockname()[1]
    listener.close()

    require_free(port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(InvalidOptionError, match="is no port"):
        require_free(port)


def test_a_taken_port_is_found_before_anything_is_fetched(listener, tmp_path, monkeypatch):
    monkeypatch.setenv("TASQUES_CACHE", str(tmp_path / "cache"))
    cluster = Cluster(base=tmp_path / "data", http_port=listener.getsockname()[1])

    with pytest.raises(PortTakenError):
        cluster.start()

    assert list(tmp_path.iterdir()) == []


def test_the_ports_of_all_nodes_must_be_free(listener, tmp_path):
    cluster = Cluster(2, base=tmp_path / "data", http_port=listener.getsockname()[1] - 1)

    with pytest.raises(PortTakenError):
        cluster.start()


def test_a_good_answer_is_no_complaint(repository):
    assert answers(repository.server_port, "/", None) is None


def test_proxies_are_not_asked_for_the_way_to_loopback(repository, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name)

    assert answers(repository.server_port, "/", None) is None


def test_what_came_instead_of_a_good_answer_is_told(repository, listener):
    repository.plan = [503]
    port = listener.getsockname()[1]
    listener.close()

    assert answers(repository.server_port, "/", None) == "503 "
    assert "refused" in answers(port, "/", None)
