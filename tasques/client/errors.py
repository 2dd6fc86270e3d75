"""What can go wrong for a client.

The tree::

    TasquesError
    ├── NoAnswerError                nobody answered, or not in time
    ├── UnexpectedAnswerError        what answered is no Tasques
    ├── WaitTimeoutError             the task was not finished in time
    ├── BatchError                   some items of a batch were refused
    └── ApiError                     the server refused or failed; `status`, `code`, the message
        ├── InvalidRequestError      400: it can never succeed as it is
        │   ├── NotClaimedError          ... the task is not claimed (any more)
        │   └── TooLargeError        413
        ├── NotAuthenticatedError    401
        ├── NotOwnedByWorkerError    403: another worker holds the claim
        ├── NotFoundError            404
        ├── ConflictError            409: others keep changing it
        │   └── AlreadyExistsError       ... or the id is taken
        ├── UnavailableError         429, 502, 503, 504: not now
        └── ServerError              any other
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tasques.client.models import Task


class TasquesError(Exception):
    """Base of everything that a client raises on purpose."""


class NoAnswerError(TasquesError):
    """Nobody answered, or not in time; nothing is known about the server.

    Attributes:
        may_have_arrived: whether the request may have reached the server all the same.
    """

    def __init__(self, reason: str, *, may_have_arrived: bool) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class UnexpectedAnswerError(TasquesError):
    """The answer is not what a Tasques server says."""


class WaitTimeoutError(TasquesError, TimeoutError):
    """The task was not finished in the time that was given; `task` is how it was last seen."""

    def __init__(self, task: Task | None) -> None:
        super().__init__("The task was not finished in time.")
        self.task = task


class BatchError(TasquesError):
    """Some items of a batch were refused.

    Attributes:
        outcomes: for each item, in order, the task or why it was refused.
    """

    def __init__(self, outcomes: Sequence[Task | TasquesError]) -> None:
        refusals = [each for each in outcomes if isinstance(each, TasquesError)]
        super().__init__(f"{len(refusals)} of {len(outcomes)} failed, the first: {refusals[0]}")
        self.outcomes = outcomes


class ApiError(TasquesError):
    """The server refused, or failed.

    Attributes:
        status: of HTTP.
        code: the word for programs that the server sent; empty if it was not a Tasques server.
        retry_after: how many seconds the server wishes that one waits before the next try.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def may_have_worked(self) -> bool:
        """Whether the request may have been carried out, now or later, in spite of this."""
        return self.status >= 500


class InvalidRequestError(ApiError):
    """The request can never succeed as it is; the message has a line for each fault."""


class NotClaimedError(InvalidRequestError):
    """The task is not claimed, or not any more: its time was over, or it is finished."""


class TooLargeError(InvalidRequestError):
    """The request is larger than the server takes."""


class NotAuthenticatedError(ApiError):
    """The server wants a user name and a password, and not these."""


class NotOwnedByWorkerError(ApiError):
    """Another worker holds the claim."""


class NotFoundError(ApiError):
    """There is no such task or recurring task."""


class ConflictError(ApiError):
    """Others keep changing it."""


class AlreadyExistsError(ConflictError):
    """The id is taken."""


class UnavailableError(ApiError):
    """The server can not do it now."""

    @property
    def may_have_worked(self) -> bool:
        """A Tasques server says so; a proxy in front of it does not know."""
        return not self.code or self.code.endswith("outcome_unknown")


class ServerError(ApiError):
    """Something is wrong in the server, or between."""


_OF_CODE: Final = {
    "not_claimed": NotClaimedError,
    "task_already_exists": AlreadyExistsError,
    "recurring_task_already_exists": AlreadyExistsError,
}
_OF_STATUS: Final = {
    400: InvalidRequestError,
    401: NotAuthenticatedError,
    403: NotOwnedByWorkerError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def api_error(status: int, *, message: str, code: str = "", retry_after: float = 0.0) -> ApiError:
    """The error that a status and a code stand for."""
    kind = _OF_CODE.get(code) or _OF_STATUS.get(status, ServerError)
    return kind(message, status=status, code=code, retry_after=retry_after)
