"""Several `tasques server` processes, of which one leads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta

import pytest
from leaders import Cluster, History, Member
from processes import PATIENCE, environment_of, run, running, wait_until

pytestmark = pytest.mark.elasticsearch

LEASE = timedelta(seconds=1)


@pytest.fixture
def settings(elasticsearch_url, prefix):
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": elasticsearch_url,
        "elasticsearch.index_prefix": prefix,
        "elasticsearch.replicas": 0,
        "elasticsearch.request_timeout": "1s",
        "recurring.leader_lock.leader_lock_lease": "1s",
        "recurring.leader_lock.run_interval": "200ms",
    }


@pytest.fixture
def three(tmp_path, settings):
    """Three servers of one host."""
    run("setup", folder=tmp_path, settings=settings)
    with ExitStack() as stack:
        members = [
            Member(stack.enter_context(running("server", folder=tmp_path, settings=settings)))
            for _ in range(3)
        ]
        for member in members:
            member.address = member.command.wait_until_ready()
        yield Cluster(members)


@pytest.fixture
def history(elasticsearch_url, prefix):
    with History(elasticsearch_url, prefix) as history:
        yield history


def test_one_of_three_servers_leads_and_all_know_it(three):
    """An operator can ask any server."""
    leader = three.leader()

    def agreed():
        said = [member.leader() for member in three.members]
        return said if None not in said else None

    said = wait_until(agreed, "everybody has seen a leader")
    assert {one["pid"] for one in said} == {leader.pid}
    assert len({(one["leader_id"], one["host"], one["since"]) for one in said}) == 1
    assert [one["is_this_server"] for one in said].count(True) == 1
    assert {one["lease"] for one in said} == {"1s"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda each: each.name)
def test_a_leader_that_ends_is_followed_by_another(three, history, number):
    """Whether it ends in order or not, until none is left to lead."""
    ended = []
    for _ in range(2):
        leader = three.leader()
        if number == signal.SIGKILL:
            leader.command.kill()
        else:
            leader.command.stop()
            assert "gave up the lead" in leader.command.output
        ended.append(leader)

    assert three.leader() not in ended
    # Who watches may see the last one a moment later than it says so itself; there may be more, if
    # the machine was too busy to renew in time.
    wait_until(lambda: len(history.check()) >= 3, "all leaders were seen")


def test_a_leader_that_was_stopped_for_three_leases_never_leads_on(three, history):
    """It wakes up, and knows at once that its time is over."""
    for _ in range(3):
        leader = three.leader()
        leader.command.process.send_signal(signal.SIGSTOP)
        successor = three.leader(but=leader)
        wait_for(3 * LEASE)
        term = successor.leader()["term"]
        leader.command.process.send_signal(signal.SIGCONT)

        until = time.monotonic() + LEASE.total_seconds()
        while time.monotonic() < until:
            said = leader.leader()
            if said is not None and said["is_this_server"]:
                assert said["term"] > term, "it leads on"

    history.check()
    for member in three.members:
        member.command.assert_calm()


def wait_for(duration: timedelta) -> None:
    """Let a time pass that is the point of a test."""
    time.sleep(duration.total_seconds())


def test_a_server_survives_a_restart_of_its_peers_and_leads_alone(tmp_path, settings, history):
    """One server is enough, and each start is a new candidate."""
    run("setup", folder=tmp_path, settings=settings)
    for _ in range(3):
        with running("server", folder=tmp_path, settings=settings) as server:
            alone = Member(server)
            alone.address = server.wait_until_ready()
            wait_until(alone.leads, "it leads")

    leaders = history.check()
    assert len(set(leaders)) == 3


def test_workers_of_one_server_are_candidates_like_any_other(tmp_path, settings):
    """Of all processes behind one port one leads, and another when that is killed."""
    run("setup", folder=tmp_path, settings=settings)
    with running("server", folder=tmp_path, settings=settings | {"workers": 2}) as server:
        member = Member(server)
        member.address = server.wait_until_ready()
        first = wait_until(member.leader, "somebody leads")
        assert first["pid"] != server.process.pid

        os.kill(first["pid"], signal.SIGKILL)

        def another():
            found = member.leader()
            return found is not None and found["leader_id"] != first["leader_id"]

        wait_until(another, "another one leads")


def test_a_server_sets_up_what_it_needs_when_told(tmp_path, settings):
    """One command is enough for a new installation, also for several servers at once."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running("server", "--setup", folder=tmp_path, settings=settings))
            for _ in range(2)
        ]
        for server in servers:
            server.wait_until_ready()
            assert "Elasticsearch is set up" in server.output
            server.assert_calm()
    with running("server", folder=tmp_path, settings=settings) as server:
        server.wait_until_ready()


A_SERVER_WITH_A_BUG = """
import asyncio
from tasques.background.{module} import {name}
from tasques.cli import main

async def broken(self):
    await asyncio.sleep(0.2)
    raise ZeroDivisionError("a bug")

{name}.run = broken
main()
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("elector", "Elector"), ("clock_check", "ClockCheck"), ("scheduler", "Scheduler")],
)
def test_a_bug_in_a_loop_ends_the_process_with_an_error(tmp_path, settings, module, name):
    """A server that can not do its part does not serve on half-alive."""
    run("setup", folder=tmp_path, settings=settings)
    ended = subprocess.run(
        [sys.executable, "-c", A_SERVER_WITH_A_BUG.format(module=module, name=name), "server"],
        cwd=tmp_path,
        env=environment_of(settings),
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )

    assert ended.returncode == 1, ended.stderr
    assert "the server ends because a part of it failed" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
