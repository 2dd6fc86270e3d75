"""The embedded Elasticsearch, started for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import elastic_transport
import pytest
from elasticsearch import ApiError, AuthenticationException, Elasticsearch, NotFoundError

import tasques
from tasques.embedded import Cluster, DataInUseError, NodeError, PortTakenError, cache_dir
from tasques.embedded.accounts import Account

pytestmark = pytest.mark.elasticsearch

PATIENCE = 60.0
STRANGER = Account(54321, 54321)  # nobody has these ids

# Start a node, tell its processes, and wait for the end of the world.
STARTER = """
import json, os, signal, sys, time
from pathlib import Path
from tasques.embedded import Cluster
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
with Cluster(base=Path(sys.argv[1]), heap="256m") as cluster:
    node = cluster.nodes[0]
    pids = [node.server_pid(), node._process._process.pid]
    try:
        print(json.dumps({"pids": pids}), flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        print(json.dumps({"running": cluster.running}), flush=True)
print(json.dumps({"running": cluster.running}), flush=True)
"""


def client_of(url, **options):
    return closing(Elasticsearch(url, request_timeout=PATIENCE, **options))


def is_alive(pid):
    return Path(f"/proc/{pid}").exists()


def a_free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def a_python_for(account):
    """A Python of this version that the account can run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [Path(sys.executable), Path("/usr/bin", version)]
    return next((str(p) for p in candidates if p.exists() and account.can_reach(p)), None)


@pytest.fixture
def public():
    """A directory that every account can enter; pytest closes its own, again and again."""
    with tempfile.TemporaryDirectory(prefix="tasques-test-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def starter(public):
    """Start a node in a process of its own, as the given user."""
    started = []

    def start(base, python=sys.executable, **options):
        process = subprocess.Popen(
            [python, "-c", STARTER, str(base)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=public,
            **options,
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_temporary_server_answers_and_leaves_nothing():
    """A cluster without a directory answers, never makes an index by itself, and is gone after."""
    with Cluster(heap="256m") as cluster:
        base, pid = cluster.base, cluster.nodes[0].server_pid()
        with client_of(cluster.urls[0]) as client:
            client.indices.create(index="tasks", settings={"number_of_replicas": 0})
            client.index(index="tasks", id="1", document={"a": 1})
            assert client.get(index="tasks", id="1")["_source"] == {"a": 1}
            with pytest.raises(NotFoundError, match="index_not_found"):
                client.index(index="missing", document={})
        assert cluster.running
        owner = Path(f"/proc/{pid}").stat().st_uid

    assert owner != 0
    assert not is_alive(pid)
    assert not base.exists()
    assert not cluster.running


def test_data_are_kept_and_a_second_instance_is_refused(public):
    """What is in a given directory is there at the next start; two never run on it at once."""
    base = public / "Dätä of ours"
    with Cluster(base=base, heap="256m") as cluster:
        with client_of(cluster.urls[0]) as client:
            client.indices.create(index="tasks", settings={"number_of_replicas": 0})
            client.index(index="tasks", id="ü", document={"a": 1})
        with pytest.raises(DataInUseError, match=f"process {os.getpid()}"):
            Cluster(base=base).start()
        assert cluster.running

    port = a_free_port()
    with Cluster(base=base, heap="256m", http_port=port) as cluster:
        assert cluster.urls == [f"http://127.0.0.1:{port}"]
        with client_of(cluster.urls[0]) as client:
            assert client.get(index="tasks", id="ü")["_source"] == {"a": 1}


class LateListener:
    """A progress that takes the port after it was found free and before the server opens it."""

    def __init__(self, listener, port):
        self.listener = listener
        self.port = port

    def phase(self, text):
        if text.startswith("starting"):
            self.listener.bind(("127.0.0.1", self.port))
            self.listener.listen()

    def advance(self, done, total):
        pass

    def close(self):
        pass


def test_a_port_that_is_taken_while_the_server_starts_is_the_same_error():
    """Whoever loses the race for a port is told so, as if it had been taken before."""
    with socket.socket() as listener:
        port = a_free_port()
        cluster = Cluster(heap="256m", http_port=port, progress=LateListener(listener, port))
        with pytest.raises(PortTakenError, match=str(port)):
            cluster.start()


def test_a_setting_that_elasticsearch_refuses_is_shown():
    """A node that ends while starting gives the end of its log as the reason."""
    with pytest.raises(NodeError, match=r"unknown setting \[no\.such\.thing\]"):
        Cluster(heap="256m", settings={"no.such.thing": 1}).start()


def test_nothing_is_left_when_the_starter_is_killed(starter, public):
    """`kill -9` of the starter ends the server, and its data can be used again at once."""
    process, told = starter(public / "data")
    assert all(map(is_alive, told["pids"]))

    process.kill()
    process.wait()
    with Cluster(base=public / "data", heap="256m") as cluster:  # waits for the old server
        assert cluster.running

    assert not any(map(is_alive, told["pids"]))


def test_ctrl_c_reaches_the_starter_only_which_stops_in_order(starter, public):
    """An interrupt of the terminal's whole group leaves the server to the one that started it."""
    process, told = starter(public / "data")

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)

    at_interrupt, at_end = (json.loads(line)["running"] for line in output.splitlines())
    assert at_interrupt
    assert not at_end
    assert process.returncode == 0
    assert not any(map(is_alive, told["pids"]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_can_start_it(starter, public):
    """Without root, and without a home, the server runs as the one who starts it."""
    packages = [Path(tasques.__file__).parents[1], Path(elastic_transport.__file__).parents[1]]
    python = a_python_for(STRANGER)
    if python is None or not all(map(STRANGER.can_reach, packages)):
        pytest.skip("Python or the packages are closed to ordinary users")
    home = public / "home"
    home.mkdir()
    os.chown(home, STRANGER.uid, STRANGER.gid)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "TASQUES_CACHE": str(cache_dir(os.environ, euid=0)),
    }

    process, told = starter(
        home / "data",
        python,
        user=STRANGER.uid,
        group=STRANGER.gid,
        extra_groups=[],
        env=environment,
    )

    assert Path(f"/proc/{told['pids'][0]}").stat().st_uid == STRANGER.uid
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_secured_server_wants_its_password_and_shows_its_certificate(secure_cluster):
    """With `secure=True` there is TLS by an authority of ours, and no answer without login."""
    url, ca, password = secure_cluster.urls[0], secure_cluster.ca_file, secure_cluster.password
    with client_of(url, ca_certs=ca, basic_auth=("elastic", password)) as client:
        assert client.cluster.health()["number_of_nodes"] == 1
    with client_of(url, ca_certs=ca) as client, pytest.raises(AuthenticationException):
        client.cluster.health()
    with (
        client_of(url, ca_certs=ca, basic_auth=("elastic", "wrong")) as client,
        pytest.raises(AuthenticationException),
    ):
        client.cluster.health()
    with (
        client_of(url, basic_auth=("elastic", password)) as client,
        pytest.raises(elastic_transport.TlsError),
    ):
        client.cluster.health()
    assert secure_cluster.ca_file.read_bytes() == secure_cluster.ca_pem


def test_three_nodes_are_one_cluster_and_can_be_broken_and_mended(three_nodes):
    """Documents outlive a killed node, a paused one answers nothing, both come back."""
    urls = three_nodes.urls
    first, second, third = three_nodes.nodes
    with client_of(urls[0]) as client:
        assert client.cluster.health()["number_of_nodes"] == 3
        client.indices.create(
            index="tasks", settings={"number_of_replicas": 2}, wait_for_active_shards="all"
        )
        client.index(index="tasks", id="1", document={"a": 1})

    second.kill()
    assert [first.running, second.running, third.running] == [True, False, True]
    with client_of(urls[0]) as client:
        assert client.get(index="tasks", id="1")["_source"] == {"a": 1}

    three_nodes.restart(second)
    assert three_nodes.urls == urls
    with client_of(urls[1]) as client:
        assert client.get(index="tasks", id="1")["_source"] == {"a": 1}
        client.cluster.health(wait_for_status="green", timeout="60s")

    third.pause()
    impatient = Elasticsearch(urls[2], request_timeout=0.5, max_retries=0)
    with closing(impatient), pytest.raises((ApiError, elastic_transport.ConnectionTimeout)):
        impatient.cluster.health()
    third.resume()
    with client_of(urls[2]) as client:
        assert client.cluster.health(wait_for_nodes="3", timeout="60s")["number_of_nodes"] == 3
