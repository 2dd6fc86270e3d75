"""A task, its states, and the moves between them.

::

    queued ──claim──▶ claimed ──complete──▶ done
      ▲  ▲              │ │ └──fail, attempts left──▶ failed ──claim──▶ claimed
      │  └───unclaim────┘ └────fail, none left──────▶ dead
    create
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, NewType

from tasques.domain.claim_rank import claim_rank
from tasques.domain.errors import (
    NotClaimedError,
    NotOwnedByWorkerError,
    ReportFromThePastError,
    UnclaimableError,
)

JsonText = NewType("JsonText", str)
"""One JSON object as text, without line breaks. What it says is the clients' affair."""

TIMED_OUT: Final = JsonText(
    '{"timed_out":"The worker did not finish or report in before the processing timeout."}'
)
"""The failure of a claim whose time was over."""

NOTHING_UNKNOWN: Final[Mapping[str, object]] = MappingProxyType({})
_CLOCK_DIFFERENCE: Final = timedelta(minutes=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


class TaskState(StrEnum):
    """What a task is in; the words are those of the API and of the store."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    FAILED = "failed"
    DONE = "done"
    DEAD = "dead"


class Version(NamedTuple):
    """Which write of a document was read; a write may be made conditional on it."""

    seq_no: int
    primary_term: int


class Report(NamedTuple):
    """The latest sign of life of a worker."""

    at: datetime
    data: JsonText | None = None
    unknown_members: Mapping[str, object] = NOTHING_UNKNOWN


class Result(NamedTuple):
    """How an attempt ended; at most one of `success` and `failure`."""

    at: datetime
    success: JsonText | None = None
    failure: JsonText | None = None


class Claim(NamedTuple):
    """Who holds, or last held, a task, and until when.

    `claim_id` tells this claim from every other one of the same worker. `wait_ms` is
    for how many milliseconds anybody could have had the task before; None if that was not noted.
    """

    worker_id: str
    claimed_at: datetime
    times_out_at: datetime
    claim_id: str | None = None
    last_report: Report | None = None
    result: Result | None = None
    wait_ms: int | None = None
    unknown_members: Mapping[str, object] = NOTHING_UNKNOWN

    @property
    def run_ms(self) -> int | None:
        """For how many milliseconds the worker had the task; None while it has it."""
        return None if self.result is None else _milliseconds(self.claimed_at, self.result.at)


class NewTask(NamedTuple):
    """What a client says of a task that it enqueues; defaults are filled in.

    A run of a recurring task has its id, and `scheduled_for`: the instant it stands for, None if
    it was enqueued on demand. `traceparent` is the place in a trace that it belongs to, in the form
    of W3C's header.
    """

    id: str
    queue: str
    kind: str
    priority: int
    retry_times: int
    processing_timeout: timedelta
    run_at: datetime
    args: JsonText | None = None
    context: JsonText | None = None
    recurring_task_id: str | None = None
    scheduled_for: datetime | None = None
    traceparent: str | None = None


class Task(NamedTuple):
    """A task as it is stored.

    `attempted` counts claims less unclaims; with `retry_times` R there are R + 1 attempts.
    `incarnation` tells this task from an earlier one of the same id. `version` is that of the
    document that was read or written; None before the first write. What is unknown came from a
    newer Tasques and is written back as it was. `archived` tells that the task has been moved
    to the archive, where nothing changes it any more.
    """

    id: str
    queue: str
    kind: str
    state: TaskState
    priority: int
    retry_times: int
    attempted: int
    processing_timeout: timedelta
    run_at: datetime
    last_enqueued_at: datetime
    created_at: datetime
    modified_at: datetime
    incarnation: str
    args: JsonText | None = None
    context: JsonText | None = None
    last_claimed: Claim | None = None
    recurring_task_id: str | None = None
    scheduled_for: datetime | None = None
    traceparent: str | None = None
    version: Version | None = None
    unknown_members: Mapping[str, object] = NOTHING_UNKNOWN
    unknown_metadata: Mapping[str, object] = NOTHING_UNKNOWN
    archived: bool = False

    @classmethod
    def enqueue(cls, new: NewTask, *, at: datetime, incarnation: str) -> Task:
        """The task at its creation."""
        return cls(
            id=new.id,
            queue=new.queue,
            kind=new.kind,
            state=TaskState.QUEUED,
            priority=new.priority,
            retry_times=new.retry_times,
            attempted=0,
            processing_timeout=new.processing_timeout,
            run_at=new.run_at,
            last_enqueued_at=at,
            created_at=at,
            modified_at=at,
            incarnation=incarnation,
            args=new.args,
            context=new.context,
            recurring_task_id=new.recurring_task_id,
            scheduled_for=new.scheduled_for,
            traceparent=new.traceparent,
        )

    @property
    def rank(self) -> int:
        """Its place in the claim order; smaller goes first."""
        return claim_rank(self.priority, self.run_at)

    @property
    def size(self) -> int:
        """About how many bytes `args` and `context` have."""
        return len(self.args or "") + len(self.context or "")

    @property
    def remaining_attempts(self) -> int:
        """How many more times the task may be claimed."""
        return max(0, self.retry_times + 1 - self.attempted)

    @property
    def retries(self) -> int:
        """How many of the attempts so far were retries."""
        return max(0, self.attempted - 1)

    @property
    def is_claimable(self) -> bool:
        """Whether a worker may have it, now or once `run_at` has come."""
        return (
            self.state in (TaskState.QUEUED, TaskState.FAILED)
            and self.attempted <= self.retry_times
        )

    def is_due(self, at: datetime) -> bool:
        """Whether a worker may have it at that instant."""
        return self.is_claimable and self.run_at <= at

    def claim(self, *, worker_id: str, at: datetime, claim_id: str) -> Task:
        """The task in the hands of a worker; what an earlier claim left is gone.

        Raises:
            UnclaimableError: it is claimed or finished.
        """
        if not self.is_claimable:
            raise UnclaimableError(self.queue, self.id, self.state)
        claim = Claim(
            worker_id=worker_id,
            claimed_at=at,
            times_out_at=at + self.processing_timeout,
            claim_id=claim_id,
            wait_ms=_milliseconds(max(self.run_at, self.last_enqueued_at), at),
        )
        return self._replace(
            state=TaskState.CLAIMED,
            attempted=self.attempted + 1,
            last_claimed=claim,
            modified_at=at,
        )

    def report(self, *, worker_id: str, at: datetime, data: JsonText | None) -> Task:
        """The task with a sign of life: its time-out starts anew.

        Clocks of two servers differ a little, so a report is never dated before the stored one,
        and only one that is over a minute older is refused.

        Raises:
            NotClaimedError, NotOwnedByWorkerError: it is not the worker's.
            ReportFromThePastError: a much newer report is stored.
        """
        claim = self._claim_of(worker_id)
        if claim.last_report is not None and claim.last_report.at > at:
            if claim.last_report.at - at > _CLOCK_DIFFERENCE:
                raise ReportFromThePastError(self.queue, self.id, claim.last_report.at)
            at = claim.last_report.at
        claim = claim._replace(
            last_report=Report(at=at, data=data),
            times_out_at=at + self.processing_timeout,
        )
        return self._replace(last_claimed=claim, modified_at=at)

    def complete(self, *, worker_id: str, at: datetime, success: JsonText | None) -> Task:
        """The task as done, for good.

        Raises:
            NotClaimedError, NotOwnedByWorkerError: it is not the worker's.
        """
        claim = self._claim_of(worker_id)._replace(result=Result(at=at, success=success))
        return self._replace(state=TaskState.DONE, last_claimed=claim, modified_at=at)

    def fail(
        self, *, worker_id: str, at: datetime, failure: JsonText | None, retry_at: datetime
    ) -> Task:
        """The task as failed: to run again at `retry_at`, or dead when out of attempts.

        Raises:
            NotClaimedError, NotOwnedByWorkerError: it is not the worker's.
        """
        claim = self._claim_of(worker_id)._replace(result=Result(at=at, failure=failure))
        if self.remaining_attempts == 0:
            return self._replace(state=TaskState.DEAD, last_claimed=claim, modified_at=at)
        return self._replace(
            state=TaskState.FAILED,
            run_at=retry_at,
            last_enqueued_at=at,
            last_claimed=claim,
            modified_at=at,
        )

    def unclaim(self, *, worker_id: str, at: datetime) -> Task:
        """The task given back: the attempt does not count, and anybody may have it at once.

        Raises:
            NotClaimedError, NotOwnedByWorkerError: it is not the worker's.
        """
        self._claim_of(worker_id)
        return self._replace(
            state=TaskState.QUEUED,
            attempted=self.attempted - 1,
            last_enqueued_at=at,
            modified_at=at,
        )

    def time_out(self, *, at: datetime, retry_at: datetime) -> Task:
        """The task failed on behalf of a worker whose time was over.

        Raises:
            NotClaimedError: nobody holds it.
        """
        if self.last_claimed is None:
            raise NotClaimedError(self.queue, self.id, self.state)
        return self.fail(
            worker_id=self.last_claimed.worker_id, at=at, failure=TIMED_OUT, retry_at=retry_at
        )

    def _claim_of(self, worker_id: str) -> Claim:
        if self.state is not TaskState.CLAIMED or self.last_claimed is None:
            raise NotClaimedError(self.queue, self.id, self.state)
        if self.last_claimed.worker_id != worker_id:
            raise NotOwnedByWorkerError(self.queue, self.id, worker_id)
        return self.last_claimed


def _milliseconds(begin: datetime, end: datetime) -> int:
    """From one to the other; 0 if the clocks of two servers make it less."""
    return max(0, (end - begin) // _MILLISECOND)
