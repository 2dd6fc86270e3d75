"""Several servers, of which one leads."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from typing import Self
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch
from processes import PATIENCE, Command, wait_until

from tasques.repository.indices import IndexNames


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
