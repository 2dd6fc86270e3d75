from __future__ import annotations

from datetime import timedelta

import bcrypt
import pytest
from elasticsearch import AsyncElasticsearch, AuthenticationException

from tasques.clock import SystemClock
from tasques.repository.features import probe
from tasques.repository.indices import IndexNames
from tasques.repository.setup import check, setup
from tasques.repository.setup_errors import SetupError

pytestmark = pytest.mark.elasticsearch

PASSWORD = "a-test-password"
PATIENCE = 120
ROLES = """\
nothing:
  cluster: []
watcher:
  cluster: [monitor]
templates:
  cluster: [monitor, manage_index_templates]
server:
  cluster: [monitor]
  indices: [{names: ["tasques-*"], privileges: [read, view_index_metadata]}]
installer:
  cluster: [monitor, manage_index_templates]
  indices: [{names: ["tasques-*"], privileges: [all]}]
"""
USERS = ("nothing", "watcher", "templates", "server", "installer")


@pytest.fixture(scope="module")
async def as_user(secure_cluster):
    """Clients of users that are called like their roles."""
    config = secure_cluster.nodes[0].config
    secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    (config / "roles.yml").write_text(ROLES)
    (config / "users_roles").write_text("".join(f"{user}:{user}\n" for user in USERS))
    (config / "users").write_text("".join(f"{user}:{secret}\n" for user in USERS))
    clients = {
        user: AsyncElasticsearch(
            secure_cluster.urls, ca_certs=str(secure_cluster.ca_file), basic_auth=(user, PASSWORD)
        )
        for user in (*USERS, "stranger")
    }
    await until_files_are_read(clients["installer"])
    yield clients.get
    for client in clients.values():
        await client.close()


async def until_files_are_read(client):
    """Elasticsearch looks at its files every few seconds, and reads the roles first or last."""
    clock = SystemClock()
    end = clock.monotonic() + PATIENCE
    while True:
        try:
            answer = await client.security.has_privileges(
                cluster=["manage_index_templates"],
                index=[{"names": ["tasques-x"], "privileges": ["all"]}],
            )
        except AuthenticationException:
            answer = {"has_all_requested": False}
        if answer["has_all_requested"]:
            return
        assert clock.monotonic() < end
        await clock.sleep(0.2)


async def set_up(client, user):
    names = IndexNames(f"tasques-{user}")
    return await setup(
        client, names=names, shards=1, replicas=0, refresh_interval=timedelta(seconds=1)
    )


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("stranger", r"does not accept the credentials"),
        ("nothing", r"read the version .*cluster privilege monitor"),
        ("watcher", r"write the index template .*cluster privilege manage_index_templates"),
        ("templates", r"look for the index .*privilege view_index_metadata"),
    ],
)
async def test_what_a_user_may_not_do_is_named(as_user, user, message):
    """An operator reads which privilege is missing for which step."""
    with pytest.raises(SetupError, match=message):
        await set_up(as_user(user), user)


async def test_an_ordinary_user_can_set_up_and_a_lesser_one_can_check(as_user):
    """What the documentation asks for is enough."""
    assert (await probe(as_user("installer"))).version

    await set_up(as_user("installer"), "installer")

    assert not (await set_up(as_user("installer"), "installer")).is_changed
    assert (await check(as_user("server"), IndexNames("tasques-installer"))).problems == []


async def test_an_unknown_authority_is_no_outage(secure_cluster):
    """A certificate that cannot be verified is for an operator, not for another try."""
    async with AsyncElasticsearch(
        secure_cluster.urls, basic_auth=("elastic", secure_cluster.password)
    ) as client:
        with pytest.raises(SetupError, match="certificate"):
            await set_up(client, "nobody")
