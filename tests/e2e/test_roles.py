"""The roles for Elasticsearch that come with Tasques: enough, and nothing that is not needed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import bcrypt
import pytest
import yaml
from elastic_transport.client_utils import basic_auth_to_header
from elasticsearch import AsyncElasticsearch, AuthenticationException, Elasticsearch
from http_calls import Caller
from processes import run, running, wait_until

from tasques.domain.errors import TasquesError
from tasques.repository.archive import ElasticsearchTaskArchive
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.lifecycle import RolloverConditions

pytestmark = pytest.mark.elasticsearch

ROLES = Path(__file__).parents[2] / "docker/elasticsearch/roles.yml"
PASSWORD = "a-test-password"
WITHOUT_FOR_SETUP = {
    "monitor": "cluster privilege monitor",
    "manage_index_templates": "cluster privilege manage_index_templates",
    "manage": "indices:admin/get",
    "read": "indices:data/read/search",
}
WITHOUT_FOR_SERVER = {
    "monitor": "cluster privilege monitor",
    "view_index_metadata": "is missing",
    "read": "indices:data/read/",
    "index": "indices:data/write/index",
    "delete": "indices:data/write/delete",
    "maintenance": "indices:admin/refresh",
}
WITHOUT_FOR_ROLLOVER = "manage"
OLDER = "tasques-older-server"


def variants():
    """A user for each role as it is, and for each that lacks one privilege: role, and what."""
    for privilege in (None, *WITHOUT_FOR_SETUP):
        yield "setup", privilege
    for privilege in (None, *WITHOUT_FOR_SERVER, WITHOUT_FOR_ROLLOVER):
        yield "server", privilege


def name_of(role, privilege=None):
    return f"tasques-{role}-{(privilege or 'nothing').replace('_', '-')}"


def role_without(role, privilege, prefix):
    """The role for indices of that prefix, less a privilege."""
    definition = yaml.safe_load(ROLES.read_text(encoding="utf-8"))[f"tasques_{role}"]
    given = [
        *definition["cluster"],
        *(p for each in definition["indices"] for p in each["privileges"]),
    ]
    assert privilege is None or privilege in given
    for each in definition["indices"]:
        each["names"] = [name.replace("tasques-", f"{prefix}-") for name in each["names"]]
        each["privileges"] = [p for p in each["privileges"] if p != privilege]
    definition["cluster"] = [p for p in definition["cluster"] if p != privilege]
    definition["indices"] = [each for each in definition["indices"] if each["privileges"]]
    return definition


@pytest.fixture(scope="module")
def secured(secure_cluster):
    """Elasticsearch with the users, each of which has a role and indices of its name."""
    config = secure_cluster.nodes[0].config
    secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    users = {name_of(*each): role_without(*each, name_of(*each)) for each in variants()}
    users[OLDER] = role_without("server", None, OLDER)
    users[OLDER]["indices"] = [
        each for each in users[OLDER]["indices"] if "monitor" not in each["privileges"]
    ]
    users["ready"] = {"cluster": ["monitor"]}
    users["tasques-kibana"] = yaml.safe_load(ROLES.read_text(encoding="utf-8"))["tasques_kibana"]
    (config / "roles.yml").write_text(yaml.safe_dump(users))
    (config / "users_roles").write_text("".join(f"{user}:{user}\n" for user in users))
    (config / "users").write_text("".join(f"{user}:{secret}\n" for user in users))
    with client_of(secure_cluster, "ready", PASSWORD) as client:
        wait_until(lambda: has_monitor(client), "Elasticsearch has read its files", 120)
    return secure_cluster


def client_of(cluster, user, password):
    return Elasticsearch(cluster.urls, ca_certs=str(cluster.ca_file), basic_auth=(user, password))


def has_monitor(client):
    try:
        return client.security.has_privileges(cluster=["monitor"])["has_all_requested"]
    except AuthenticationException:
        return False


def settings_of(cluster, user, password=PASSWORD, *, prefix=None):
    """Of commands of a user, in which all that a leader does is soon done."""
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": cluster.urls[0],
        "elasticsearch.ca_file": cluster.ca_file,
        "elasticsearch.user.name": user,
        "elasticsearch.user.password": password,
        "elasticsearch.index_prefix": prefix or user,
        "elasticsearch.replicas": 0,
        "recurring.timed_out_tasks_reaper.run_interval": "200ms",
        "recurring.tasks_archiver.run_interval": "200ms",
        "recurring.tasks_archiver.archive_older_than": "0s",
        "lifecycle_setup.archived_tasks.rollover.max_docs": 1,
    }


def in_the_way(cluster, user):
    """An empty index where a set-up wants to have its own: it must look into it."""
    with client_of(cluster, "elastic", cluster.password) as elastic:
        alias = IndexNames(user).tasks_alias
        elastic.indices.create(
            index=f"{user}-older", aliases={alias: {}}, settings={"number_of_replicas": 0}
        )


def test_the_role_for_set_up_is_enough(secured, tmp_path):
    """It makes everything, clears what is in the way, and repairs settings."""
    user = name_of("setup")
    settings = settings_of(secured, user)
    in_the_way(secured, user)

    assert "created" in run("setup", folder=tmp_path, settings=settings).stdout
    changed = settings | {"elasticsearch.refresh_interval": "2s"}
    assert "upgraded" in run("setup", folder=tmp_path, settings=changed).stdout
    again = run("setup", folder=tmp_path, settings=changed).stdout
    assert again == "Everything was there already.\n"


@pytest.mark.parametrize(("privilege", "told"), WITHOUT_FOR_SETUP.items())
def test_the_role_for_set_up_needs_each_privilege(secured, tmp_path, privilege, told):
    user = name_of("setup", privilege)
    in_the_way(secured, user)

    done = run("setup", folder=tmp_path, settings=settings_of(secured, user), code=1)

    assert told in done.stderr


def set_up(cluster, user, folder):
    settings = settings_of(cluster, "elastic", cluster.password, prefix=user)
    run("setup", folder=folder, settings=settings)


def live(caller, patience=60):
    """A task's whole life, one that fails, one that is given back, and a recurring one."""
    task = caller.create(queue="q", id="t")
    (claimed,) = caller.claim("q")
    caller.tell("reports", claimed)
    caller.tell("done", claimed)
    caller.create(queue="f", retry_times=0)
    caller.tell("failed", caller.claim("f")[0])
    caller.create(queue="u")
    caller.unclaim(caller.claim("u")[0])
    caller.create(queue="silent", id="s", processing_timeout="100ms")
    caller.claim("silent")
    recurring = {
        "id": "r",
        "schedule_expression": "@every 1s",
        "skip_if_outstanding_tasks_exist": True,
        "task_definition": {"queue": "spawned", "kind": "k"},
    }
    assert caller.call("POST", "/recurring_tasques", recurring)[0] == 201
    (spawned,) = caller.claim("spawned")
    caller.tell("done", spawned)
    assert caller.call("DELETE", "/recurring_tasques/r")[0] == 200
    wait_until(lambda: caller.get(task).get("archived"), "it is archived", patience)
    silent = {"queue": "silent", "id": "s"}
    wait_until(lambda: caller.get(silent)["state"] == "failed", "its worker is silent", patience)


def test_the_role_for_servers_is_enough(secured, tmp_path):
    """For tasks, recurring ones, all chores of a leader, its clock, and counting the queues."""
    user = name_of("server")
    set_up(secured, user, tmp_path)
    settings = settings_of(secured, user)
    with running("server", folder=tmp_path, settings=settings) as server:
        address = server.wait_until_ready()
        live(Caller(address))
        with urlopen(f"{address}/metrics", timeout=60) as answer:
            assert b"# HELP tasques_queue_depth" in answer.read()

    assert "unauthorized" not in server.output
    assert "this server may not" not in server.output
    server.assert_calm()


def test_servers_work_without_the_privilege_that_only_saves_requests(secured, tmp_path):
    """Roles that were made before it was of use go on to be enough."""
    set_up(secured, OLDER, tmp_path)
    with running("server", folder=tmp_path, settings=settings_of(secured, OLDER)) as server:
        live(Caller(server.wait_until_ready()))

    assert "this server may not ask for the last write" in server.output
    server.assert_calm()


@pytest.mark.parametrize(("privilege", "told"), WITHOUT_FOR_SERVER.items())
def test_the_role_for_servers_needs_each_privilege(secured, tmp_path, privilege, told):
    """Without it a server does not start, or says in its log what it may not do."""
    user = name_of("server", privilege)
    set_up(secured, user, tmp_path)
    settings = settings_of(secured, user)
    assert says(told, settings, tmp_path, 20)


def says(told, settings, folder, patience):
    """Whether a server says that in its log, some seconds after all that tasks can live through."""
    with suppress(AssertionError), running("server", folder=folder, settings=settings) as server:
        server.wait_for(lambda: told in server.output or '"listening"' in server.output, "it tries")
        with suppress(AssertionError):  # some of it must fail
            if told not in server.output:
                live(Caller(server.address()), patience=10)
        server.wait_for(lambda: told in server.output, f"it says {told}", patience)
    print(server.output)  # noqa: T201 - why, if it does not
    return told in server.output


async def roll_over(cluster, user):
    """What a leader does once a minute; it is not waited for here."""
    async with AsyncElasticsearch(
        cluster.urls, ca_certs=str(cluster.ca_file), basic_auth=(user, PASSWORD)
    ) as client:
        names = IndexNames(user)
        archive = ElasticsearchTaskArchive(
            tasks_alias=names.tasks_alias,
            archive_alias=names.archive_alias,
            connection=Connection(client, authorization=basic_auth_to_header((user, PASSWORD))),
            conditions=RolloverConditions(max_age="0ms", max_primary_shard_size="50gb"),
            max_bytes=1024 * 1024,
            request_timeout=60,
        )
        return await archive.roll_over()


async def test_the_role_for_servers_needs_to_manage_the_archive(secured, tmp_path):
    """It goes on in a new index with that, and not without."""
    for user in (name_of("server"), name_of("server", WITHOUT_FOR_ROLLOVER)):
        set_up(secured, user, tmp_path)
        with client_of(secured, "elastic", secured.password) as elastic:
            elastic.index(index=IndexNames(user).archive_alias, document={"id": "t"}, refresh=True)

    assert await roll_over(secured, name_of("server"))
    with pytest.raises(TasquesError, match="indices:admin/rollover"):
        await roll_over(secured, name_of("server", WITHOUT_FOR_ROLLOVER))


def test_the_role_for_kibana_is_for_kibana_only(secured):
    """Kibana asks Elasticsearch just so whether a user may write saved objects in a space."""

    def application(space):
        privileges = ["feature_savedObjectsManagement.all"]
        return [{"application": "kibana-.kibana", "privileges": privileges, "resources": [space]}]

    with client_of(secured, "tasques-kibana", PASSWORD) as client:
        wait_until(lambda: has(client, application=application("space:default")), "it is known")
        assert not has(client, application=application("space:other"))
        assert not has(client, cluster=["monitor"])
        assert not has(client, index=[{"names": ["tasques-tasks"], "privileges": ["read"]}])


def has(client, **privileges):
    return client.security.has_privileges(**privileges)["has_all_requested"]
