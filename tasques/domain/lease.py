"""The lease of the leader: what all servers can see of who leads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasques.domain.task import Version


@dataclass(frozen=True, slots=True)
class Server:
    """One start of one server process.

    Attributes:
        id: random, new with every start: host name and pid may come back.
        host: name of its host, for operators.
        pid: of the process, for operators.
    """

    id: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What is stored about who leads. Each write of it is a sign of life.

    Attributes:
        leader: the server that wrote it.
        term: grows by one with each change of the leader.
        since: when the leader began this term, by its own wall clock; for operators.
        write: counts what this leader has tried to write: no two writes have both the same
            leader and the same number.
        written_at: by the leader's wall clock; for operators.
        duration: for how long nobody else may take the lead after having seen this write.
        is_resigned: the leader has given up the lead; anybody may take it at once.
        version: of the document; None before it is stored.
    """

    leader: Server
    term: int
    since: datetime
    write: int
    written_at: datetime
    duration: timedelta
    is_resigned: bool = False
    version: Version | None = None

    def is_same_write(self, other: Lease | None) -> bool:
        """Whether both are from one and the same attempt to write."""
        return other is not None and self.leader.id == other.leader.id and self.write == other.write

    def renewed(self, *, write: int, at: datetime, duration: timedelta) -> Lease:
        """The next sign of life of the same leader."""
        return replace(self, write=write, written_at=at, duration=duration)

    def resigned(self, *, write: int, at: datetime) -> Lease:
        """The end of the term, before the lease runs out."""
        return replace(self, write=write, written_at=at, is_resigned=True)


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads, as one server sees it.

    Attributes:
        lease: of the leader; None when nobody is known to lead.
        is_this_server: whether the server that was asked may act as the leader right now.
    """

    lease: Lease | None
    is_this_server: bool
