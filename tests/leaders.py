"""Several servers, of which one leads."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Self
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch
from http_calls import Caller
from processes import PATIENCE, Command, Settings, running, wait_until

from tasques.repository.indices import IndexNames

FROZEN = 3.0  # seconds, longer than two leases of those who use it


class Member:
    """A server, and what it says of the leader."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.address = ""

    @property
    def pid(self) -> int:
        return self.command.process.pid

    def leader(self):
        """Who leads, as it sees it; None if nobody does."""
        there = urlsplit(self.address)
        connection = HTTPConnection(there.hostname, there.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/health/leader")
            answer = connection.getresponse()
            said = json.load(answer)
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return said if answer.status == 200 else None

    def leads(self) -> bool:
        leader = self.leader()
        return leader is not None and leader["is_this_server"]


class Cluster:
    """Servers that compete; those that were killed are still members."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    def alive(self) -> list[Member]:
        return [member for member in self.members if not member.command.is_over]

    def leader(self, *, but: Member | None = None) -> Member:
        """Wait until one of them leads."""

        def found() -> Member | None:
            candidates = (member for member in self.alive() if member is not but)
            return next((member for member in candidates if member.leads()), None)

        return wait_until(found, "somebody leads")


class Servers(Cluster):
    """Three servers; one that has ended is replaced."""

    def __init__(self, stack: ExitStack, folder: Path, settings: Settings) -> None:
        super().__init__([])
        self._stack, self._folder, self._settings = stack, folder, settings
        for _ in range(3):
            self.add()

    def add(self) -> Member:
        command = self._stack.enter_context(
            running("server", folder=self._folder, settings=self._settings)
        )
        member = Member(command)
        member.address = command.wait_until_ready()
        self.members.append(member)
        return member

    def caller(self) -> Caller:
        return Caller(self.alive()[-1].address)

    def end_leader(self, kind: str) -> None:
        """Kill it, stop it, or freeze it until another one has led for a while."""
        leader = self.leader()
        if kind == "SIGSTOP":
            leader.command.process.send_signal(signal.SIGSTOP)
            self.leader(but=leader)
            time.sleep(FROZEN)  # which the frozen one spends believing that it leads
            leader.command.process.send_signal(signal.SIGCONT)
            return
        if kind == "SIGKILL":
            leader.command.kill()
        else:
            leader.command.stop()
        self.leader(but=leader)
        self.add()


class History:
    """The lease as it was seen while a block ran."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client = Elasticsearch(url)
        self._alias = IndexNames(prefix).leader_alias
        self._stop = Event()
        self._thread = Thread(target=self._look)
        self.seen: dict[int, dict] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            found = self._client.options(ignore_status=404).get(index=self._alias, id="leader")
            if found.get("found"):
                self.seen[found["_seq_no"]] = found["_source"]

    def check(self) -> list[str]:
        """No term had two leaders, and none was written in after a later one; who they were."""
        leases = [lease for _, lease in sorted(self.seen.items())]
        terms = [lease["term"] for lease in leases]
        assert terms == sorted(terms)
        leaders: dict[int, str] = {}
        for lease in leases:
            assert leaders.setdefault(lease["term"], lease["leader_id"]) == lease["leader_id"]
        return list(leaders.values())
