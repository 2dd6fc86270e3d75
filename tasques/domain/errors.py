"""Every way in which Tasques refuses or fails.

The tree; what the caller may do about it is the second level::

    TasquesError
    ├── InvalidRequestError          the request can never succeed as it is
    │   └── TooLargeError            ... because something is too big
    ├── TaskNotFoundError            there is no such task
    ├── TaskAlreadyExistsError       the id is taken in that queue
    ├── RecurringTaskNotFoundError       the same two of recurring tasks
    ├── RecurringTaskAlreadyExistsError
    ├── BrokenRecurringTaskError     what is stored of it can not be used as it is
    ├── InvalidStateError            the task is not in a state that allows the move
    │   ├── NotClaimedError
    │   ├── UnclaimableError
    │   └── ReportFromThePastError
    ├── NotOwnedByWorkerError        somebody else holds the claim
    ├── VersionConflictError         another writer was first
    │   └── RecurringTaskConflictError
    ├── UnavailableError             try again later
    │   ├── StoreUnavailableError    Elasticsearch does not answer, or refuses for now
    │   ├── StoreBlockedError        an index refuses writes until an operator acts
    │   ├── UnresolvedWriteError     nobody can tell yet whether a write took place
    │   ├── UnresolvedRecurringWriteError
    │   ├── OverloadedError          a bounded queue here is full
    │   └── ShuttingDownError        this server is about to stop
    ├── NotLeadingError              another server may lead by now: this one's chores are its
    ├── StoreRejectedError           Elasticsearch will never take this write: a fault of ours
    └── CorruptDocumentError         a stored document is not what was written

`code` is the stable, machine-readable name of the error on the wire.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class TasquesError(Exception):
    """Base of all errors that Tasques raises on purpose."""

    code: ClassVar[str] = "internal_error"


class InvalidRequestError(TasquesError):
    """A value that was sent can not be accepted; `problems` has one sentence for each fault."""

    code = "invalid_request"

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TooLargeError(InvalidRequestError):
    """Something that was sent is larger than this server takes."""

    code = "too_large"


class TaskNotFoundError(TasquesError):
    """There is no such task in that queue."""

    code = "task_not_found"

    def __init__(self, queue: str, task_id: str) -> None:
        super().__init__(f"There is no task {task_id!r} in queue {queue!r}.")
        self.queue = queue
        self.task_id = task_id


class TaskAlreadyExistsError(TasquesError):
    """The id is taken in that queue."""

    code = "task_already_exists"

    def __init__(self, queue: str, task_id: str) -> None:
        super().__init__(f"There is a task {task_id!r} in queue {queue!r} already.")
        self.queue = queue
        self.task_id = task_id


class RecurringTaskNotFoundError(TasquesError):
    """There is no such recurring task, or it was deleted."""

    code = "recurring_task_not_found"

    def __init__(self, recurring_task_id: str) -> None:
        super().__init__(f"There is no recurring task {recurring_task_id!r}.")
        self.recurring_task_id = recurring_task_id


class RecurringTaskAlreadyExistsError(TasquesError):
    """The id of a recurring task is taken."""

    code = "recurring_task_already_exists"

    def __init__(self, recurring_task_id: str) -> None:
        super().__init__(f"There is a recurring task {recurring_task_id!r} already.")
        self.recurring_task_id = recurring_task_id


class BrokenRecurringTaskError(TasquesError):
    """What is stored of a recurring task makes no sense, and has to be replaced or deleted."""

    code = "broken_recurring_task"

    def __init__(self, recurring_task_id: str, reason: str, remedy: str) -> None:
        super().__init__(
            f"What is stored of recurring task {recurring_task_id!r} is broken ({reason}): "
            f"{remedy}."
        )
        self.recurring_task_id = recurring_task_id
        self.reason = reason


class InvalidStateError(TasquesError):
    """The task's state does not allow the move."""

    code = "invalid_state"


class NotClaimedError(InvalidStateError):
    """Only a claimed task can be reported on, finished or unclaimed."""

    code = "not_claimed"

    def __init__(self, queue: str, task_id: str, state: str) -> None:
        super().__init__(f"Task {task_id!r} in queue {queue!r} is not claimed: it is {state}.")
        self.queue = queue
        self.task_id = task_id
        self.state = state


class UnclaimableError(InvalidStateError):
    """The task is finished, held by a worker, or not yet due."""

    code = "unclaimable"

    def __init__(self, queue: str, task_id: str, state: str) -> None:
        super().__init__(f"Task {task_id!r} in queue {queue!r} can not be claimed: it is {state}.")
        self.queue = queue
        self.task_id = task_id
        self.state = state


class ReportFromThePastError(InvalidStateError):
    """A report that is much older than the stored one must not replace it."""

    code = "report_from_the_past"

    def __init__(self, queue: str, task_id: str, stored_at: datetime) -> None:
        super().__init__(
            f"Task {task_id!r} in queue {queue!r} has a newer report, of {stored_at.isoformat()}."
        )
        self.queue = queue
        self.task_id = task_id
        self.stored_at = stored_at


class NotOwnedByWorkerError(TasquesError):
    """The task is claimed, but by another worker."""

    code = "not_owned_by_worker"

    def __init__(self, queue: str, task_id: str, worker_id: str) -> None:
        super().__init__(
            f"Task {task_id!r} in queue {queue!r} is not claimed by worker {worker_id!r}."
        )
        self.queue = queue
        self.task_id = task_id
        self.worker_id = worker_id


class VersionConflictError(TasquesError):
    """Another writer was first: read again and judge anew."""

    code = "version_conflict"

    def __init__(self, queue: str, task_id: str) -> None:
        super().__init__(f"Task {task_id!r} in queue {queue!r} is being changed by others.")
        self.queue = queue
        self.task_id = task_id


class RecurringTaskConflictError(VersionConflictError):
    """Another writer was first, at a recurring task."""

    code = "recurring_task_conflict"

    def __init__(self, recurring_task_id: str) -> None:
        text = f"Recurring task {recurring_task_id!r} is being changed by others."
        TasquesError.__init__(self, text)
        self.recurring_task_id = recurring_task_id


class UnavailableError(TasquesError):
    """It can not be done now; `retry_after` is how many seconds to wait before the next try."""

    code = "unavailable"
    retry_after: ClassVar[int] = 1


class StoreUnavailableError(UnavailableError):
    """Elasticsearch does not answer, or refuses the work for the moment."""

    code = "store_unavailable"


class StoreBlockedError(UnavailableError):
    """An index refuses writes, for example because a disk is full."""

    code = "store_blocked"
    retry_after = 5


class UnresolvedWriteError(UnavailableError):
    """It could not be found out in time whether a write took place."""

    code = "outcome_unknown"

    def __init__(self, queue: str, task_id: str) -> None:
        super().__init__(
            f"It is not known yet whether the change of task {task_id!r} in queue {queue!r} took "
            "place: get the task, or repeat the request with this id."
        )
        self.queue = queue
        self.task_id = task_id


class UnresolvedRecurringWriteError(UnavailableError):
    """It could not be found out in time whether a recurring task was written."""

    code = "recurring_task_outcome_unknown"

    def __init__(self, recurring_task_id: str) -> None:
        super().__init__(
            f"It is not known yet whether the change of recurring task {recurring_task_id!r} took "
            "place: get it, or repeat the request."
        )
        self.recurring_task_id = recurring_task_id


class OverloadedError(UnavailableError):
    """More work waits in this server than it takes."""

    code = "overloaded"


class ShuttingDownError(UnavailableError):
    """This server is about to stop."""

    code = "shutting_down"


class NotLeadingError(TasquesError):
    """A chore was broken off before it wrote, because another server may lead by now."""

    code = "not_leading"


class StoreRejectedError(TasquesError):
    """Elasticsearch refuses a write for good; the reason is in the log."""

    code = "store_rejected"


class CorruptDocumentError(TasquesError):
    """A stored document can not be read as what it should be."""

    code = "corrupt_document"

    def __init__(self, document_id: str, reason: str) -> None:
        super().__init__(f"The stored document {document_id!r} is broken: {reason}")
        self.document_id = document_id
        self.reason = reason
