"""Elasticsearch's certificate and its authority are renewed while a server works."""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Event
from urllib.parse import urlsplit

import pytest
import trustme
from http_calls import Caller
from processes import run, running, status_of, wait_until
from relay import Relay

from tasques.client import Client, NewTask

pytestmark = pytest.mark.elasticsearch

WORKERS = 8
TASKS = 40
PAUSE = 0.02  # seconds between two tasks
SECOND = timedelta(seconds=1)


class Certified:
    """A secured Elasticsearch, and the authority of the certificate that it shows now."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.authority = cluster.ca_pem

    def renew(self, next_one):
        """Have it show a certificate of another authority, and wait until it does."""
        leaf = next_one.issue_cert("127.0.0.1")
        config = self.cluster.nodes[0].config
        (config / "http.key").write_bytes(leaf.private_key_pem.bytes())
        (config / "http.crt").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        self.authority = next_one.cert_pem.bytes()
        wait_until(self._shows_it, "Elasticsearch has read its files", 120)

    def _shows_it(self):
        there = urlsplit(self.cluster.urls[0])
        context = ssl.create_default_context(cadata=self.authority.decode())
        with socket.create_connection((there.hostname, there.port)) as connection:
            try:
                context.wrap_socket(connection, server_hostname=there.hostname).close()
            except ssl.SSLError:
                return False
        return True


@pytest.fixture(scope="module")
def certified(secure_cluster):
    return Certified(secure_cluster)


@pytest.fixture
async def relay(certified):
    """What is between the server and Elasticsearch, for connections to be broken off."""
    async with Relay(certified.cluster.urls[0]) as relay:
        yield relay


@pytest.fixture
def file(certified, tmp_path):
    path = tmp_path / "ca.crt"
    path.write_bytes(certified.authority)
    return path


@pytest.fixture
async def server(certified, relay, file, tmp_path):
    settings = {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": relay.url,
        "elasticsearch.ca_file": file,
        "elasticsearch.user.name": "elastic",
        "elasticsearch.user.password": certified.cluster.password,
        "elasticsearch.replicas": 0,
    }
    await asyncio.to_thread(run, "setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings) as server:
        await asyncio.to_thread(server.wait_until_ready)
        yield server
        await asyncio.to_thread(server.stop)


class Load:
    """A producer and workers, who repeat what was not answered."""

    def __init__(self, address):
        self._address = address
        self._is_over = Event()
        self.created = []
        self.done = []

    async def __aenter__(self):
        parts = [self._produce, *(partial(self._work, number) for number in range(WORKERS))]
        self._pool = ThreadPoolExecutor(len(parts))
        self._running = [asyncio.wrap_future(self._pool.submit(part)) for part in parts]
        return self

    async def __aexit__(self, *_):
        self._is_over.set()
        await asyncio.gather(*self._running)
        self._pool.shutdown()
        assert sorted(self.done) == sorted(self.created)

    async def goes_on(self):
        """Wait until a good many tasks more are done."""
        wanted = len(self.done) + TASKS
        await asyncio.to_thread(wait_until, lambda: len(self.done) >= wanted, "tasks are done")

    def _produce(self):
        with Client(self._address) as client:
            while not self._is_over.wait(PAUSE):
                self.created.append(client.enqueue(NewTask("mail", "k")).id)

    def _work(self, number):
        with Client(self._address) as client:
            while not self._is_over.is_set() or len(self.done) < len(self.created):
                for task in client.claim(["mail"], worker_id=f"worker-{number}", block_for=SECOND):
                    client.done(task)
                    self.done.append(task.id)


async def test_a_renewed_authority_is_trusted_without_a_restart(certified, relay, file, server):
    """Both are in the file while Elasticsearch changes, and then the new one alone."""
    old, new = certified.authority, trustme.CA()
    async with Load(server.address()) as load:
        await load.goes_on()
        file.write_bytes(old + new.cert_pem.bytes())
        await relay.break_off()
        await load.goes_on()
        await asyncio.to_thread(certified.renew, new)
        await relay.break_off()
        await load.goes_on()
        file.write_bytes(certified.authority)
        await relay.break_off()
        await load.goes_on()

    assert "certificate authorities were replaced" in server.output
    server.assert_calm()


async def test_a_server_whose_file_is_renewed_too_late_recovers_by_itself(
    certified, relay, file, server
):
    """Meanwhile it says what is wrong, and verifies all the same."""
    address = server.address()
    await asyncio.to_thread(certified.renew, trustme.CA())
    await relay.break_off()
    ready = Caller(address)

    status, said = await asyncio.to_thread(ready.call, "GET", "/health/ready")
    assert status == 503
    assert "CERTIFICATE_VERIFY_FAILED" in str(said)
    task = {"queue": "late", "kind": "k"}
    status, said = await asyncio.to_thread(ready.call, "POST", "/tasques", task)
    assert status == 503, said

    file.write_bytes(certified.authority)
    await asyncio.to_thread(
        server.wait_for, lambda: status_of(f"{address}/health/ready") == 200, "it is ready"
    )
    async with Load(address) as load:
        await load.goes_on()
    server.assert_calm()
