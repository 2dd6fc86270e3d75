"""Elasticsearch's certificate and its authority are renewed while a server works."""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import urlsplit

import pytest
import trustme
from http_calls import Caller
from processes import run, running, status_of, wait_until
from relay import Relay

pytestmark = pytest.mark.elasticsearch

WORKERS = 8
TASKS = 40


class Certified:
    """A secured Elasticsearch, and the authority of the certificate that it shows now."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.authority = cluster.ca_pem

    def renew(self):
        """Have it show a certificate of a new authority, and wait until it does."""
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        config = self.cluster.nodes[0].config
        (config / "http.key").write_bytes(leaf.private_key_pem.bytes())
        (config / "http.crt").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        self.authority = authority.cert_pem.bytes()
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


def work(address, number, queue):
    """Finish tasks until there is none; returns how many."""
    caller = Caller(address, f"worker-{number}")
    finished = 0
    while tasks := caller.claim(queue, block_for="2s"):
        for task in tasks:
            caller.tell("done", task)
            finished += 1
    return finished


async def work_off(address, queue):
    """Enqueue tasks, and have 8 workers finish them; returns how many they finished."""
    caller = Caller(address)
    for _ in range(TASKS):
        await asyncio.to_thread(caller.create, queue=queue)
    workers = [asyncio.to_thread(work, address, number, queue) for number in range(WORKERS)]
    return sum(await asyncio.gather(*workers))


async def test_a_renewed_authority_is_trusted_without_a_restart(certified, relay, file, server):
    """Both are in the file while Elasticsearch changes, and then the new one alone."""
    address, old = server.address(), certified.authority
    working = asyncio.create_task(work_off(address, "meanwhile"))
    new = trustme.CA()  # whatever is in the file beside the right one does no harm
    file.write_bytes(old + new.cert_pem.bytes())
    assert await working == TASKS

    await asyncio.to_thread(certified.renew)
    file.write_bytes(old + certified.authority)
    await relay.break_off()
    assert await work_off(address, "both") == TASKS

    file.write_bytes(certified.authority)
    await relay.break_off()
    assert await work_off(address, "new") == TASKS
    assert "certificate authorities were replaced" in server.output
    server.assert_calm()


async def test_a_server_whose_file_is_renewed_too_late_recovers_by_itself(
    certified, relay, file, server
):
    """Meanwhile it says what is wrong, and verifies all the same."""
    address = server.address()
    await asyncio.to_thread(certified.renew)
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
    assert await work_off(address, "late") >= TASKS
    server.assert_calm()
