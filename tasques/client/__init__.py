"""Clients of the API of Tasques, blocking and asynchronous.

They need httpx (`pip install 'tasques[client]'`) and nothing of the server::

    with Client("http://localhost:8080") as client:
        task = client.enqueue(NewTask("mails", "welcome", {"to": "ada@example.org"}))
        client.wait(task, timedelta(minutes=1))

To work on tasks, use `tasques.worker`; to test a program without a server,
`tasques.client.testing`.
"""

from tasques.client.asynchronous import AsyncClient
from tasques.client.blocking import Client
from tasques.client.errors import (
    AlreadyExistsError,
    ApiError,
    BatchError,
    ConflictError,
    InvalidRequestError,
    NoAnswerError,
    NotAuthenticatedError,
    NotClaimedError,
    NotFoundError,
    NotOwnedByWorkerError,
    ServerError,
    TasquesError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from tasques.client.models import (
    Claim,
    JsonObject,
    Metadata,
    MisfirePolicy,
    NewRecurringTask,
    NewTask,
    RecurringTask,
    RecurringTaskChange,
    Report,
    Result,
    Task,
    TaskDefinition,
    TaskResult,
    TaskState,
    Version,
)

__all__ = [
    "AlreadyExistsError",
    "ApiError",
    "AsyncClient",
    "BatchError",
    "Claim",
    "Client",
    "ConflictError",
    "InvalidRequestError",
    "JsonObject",
    "Metadata",
    "MisfirePolicy",
    "NewRecurringTask",
    "NewTask",
    "NoAnswerError",
    "NotAuthenticatedError",
    "NotClaimedError",
    "NotFoundError",
    "NotOwnedByWorkerError",
    "RecurringTask",
    "RecurringTaskChange",
    "Report",
    "Result",
    "ServerError",
    "Task",
    "TaskDefinition",
    "TaskResult",
    "TaskState",
    "TasquesError",
    "TooLargeError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "Version",
    "WaitTimeoutError",
]
