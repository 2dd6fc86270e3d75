"""The asynchronous client."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self, TypeVar

import httpx

from tasques.client.errors import NoAnswerError
from tasques.client.exchange import Answer, Call, Pause, Request, resume
from tasques.client.models import (
    JsonObject,
    NewRecurringTask,
    NewTask,
    RecurringTask,
    RecurringTaskChange,
    Task,
    TaskResult,
)
from tasques.client.transport import (
    PAST_PROXIES,
    Calls,
    answer_of,
    check_url,
    httpx_arguments,
    no_answer,
)
from tasques.clock import SystemClock

T = TypeVar("T")


class AsyncClient:
    """Asks a Tasques server, on asyncio.

    Requests are repeated, with growing random pauses, when the server does not answer or can not
    do it now; that is safe for every method. What every method may raise, beside what it says:
    `UnavailableError` and `NoAnswerError` after these repetitions, `InvalidRequestError`,
    `NotAuthenticatedError`, and the other errors of `tasques.client.errors`.

    Args:
        url: where the server is.
        auth: a user name and a password.
        timeout: how long a method may take, with all repetitions.
        verify: whom to trust for https, as httpx takes it.
        transport: how to reach the server, for tests (see `tasques.client.testing`).

    Raises:
        ValueError: `url` is no address for HTTP.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        auth: tuple[str, str] | None = None,
        timeout: timedelta = timedelta(seconds=30),
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = SystemClock()
        self._calls = Calls(timeout.total_seconds())
        check_url(url)
        self._http = httpx.AsyncClient(
            base_url=url, auth=auth, verify=verify, transport=transport, mounts=PAST_PROXIES
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # ---------------------------------------------------------------- tasks

    async def enqueue(self, new: NewTask) -> Task:
        """Create a task, exactly once, however often the request has to be repeated.

        Raises:
            AlreadyExistsError: the id is taken in that queue. After an answer was lost, a task
                that is what was asked for counts as ours.
        """
        return await self._run(self._calls.tasks.enqueue(new))

    async def enqueue_many(self, tasks: Iterable[NewTask]) -> list[Task]:
        """Create tasks, each exactly once, in requests of up to 1,000.

        Raises:
            BatchError: some were not created; its `outcomes` tell which, and why.
        """
        return await self._run(self._calls.batches.enqueue_many(list(tasks)))

    async def get(self, queue: str, task_id: str) -> Task:
        """Read a task as it is now, also when it is archived.

        Raises:
            NotFoundError: there is none.
        """
        return await self._run(self._calls.tasks.get(queue, task_id))

    async def wait(self, task: Task, at_most: timedelta) -> Task:
        """Wait until a task is done or dead; it is looked at every two seconds, at first sooner.

        Raises:
            WaitTimeoutError: it was not finished in time.
        """
        seconds = at_most.total_seconds()
        call = self._calls.tasks.wait(task.queue, task.id, seconds, self._calls.monotonic)
        return await self._run(call)

    # ---------------------------------------------------------------- workers' side

    async def claim(
        self,
        queues: Sequence[str],
        *,
        worker_id: str,
        amount: int = 1,
        block_for: timedelta = timedelta(seconds=20),
    ) -> list[Task]:
        """Claim up to `amount` tasks from some queues, or from all if none is named.

        Waits up to `block_for` while there is nothing, and then returns nothing.
        """
        return await self._run(self._calls.tasks.claim(queues, worker_id, amount, block_for))

    async def report(self, task: Task, data: JsonObject | None = None) -> Task:
        """Give a sign of life for a claimed task: its time-out starts anew.

        Args:
            task: as it was claimed.
            data: how far it is; replaces that of the last report, also when it is None.

        Raises:
            NotClaimedError, NotOwnedByWorkerError, NotFoundError: the claim is lost.
        """
        return await self._run(self._calls.tasks.report(task, data))

    async def done(self, task: Task, data: JsonObject | None = None) -> Task:
        """Finish a claimed task for good. Doing it twice for one claim is no error.

        Raises:
            NotClaimedError, NotOwnedByWorkerError, NotFoundError: the claim is lost.
        """
        return await self._run(self._calls.tasks.finish(task, "done", data))

    async def failed(self, task: Task, data: JsonObject | None = None) -> Task:
        """End an attempt that failed: the task is tried again later, or is dead. As `done`."""
        return await self._run(self._calls.tasks.finish(task, "failed", data))

    async def finish_many(self, results: Iterable[TaskResult]) -> list[Task]:
        """End attempts at claimed tasks, in requests of up to 1,000.

        Raises:
            BatchError: some were refused; its `outcomes` tell which, and why.
        """
        return await self._run(self._calls.batches.finish_many(list(results)))

    async def unclaim(self, task: Task) -> Task:
        """Give a claimed task back: the attempt does not count, and anybody may have it.

        Raises:
            NotClaimedError, NotOwnedByWorkerError, NotFoundError: the claim is lost.
        """
        return await self._run(self._calls.tasks.unclaim(task))

    # ---------------------------------------------------------------- recurring tasks

    async def create_recurring_task(self, new: NewRecurringTask) -> RecurringTask:
        """Make a recurring task.

        Raises:
            AlreadyExistsError: the id is taken.
        """
        return await self._run(self._calls.recurring_tasks.create(new))

    async def get_recurring_task(self, recurring_task_id: str) -> RecurringTask:
        """Read a recurring task.

        Raises:
            NotFoundError: there is none.
        """
        return await self._run(self._calls.recurring_tasks.get(recurring_task_id))

    async def list_recurring_tasks(self) -> list[RecurringTask]:
        """Read all recurring tasks."""
        return await self._run(self._calls.recurring_tasks.list_all())

    async def update_recurring_task(
        self, recurring_task_id: str, change: RecurringTaskChange
    ) -> RecurringTask:
        """Change a recurring task.

        Raises:
            NotFoundError: there is none.
        """
        return await self._run(self._calls.recurring_tasks.update(recurring_task_id, change))

    async def delete_recurring_task(self, recurring_task_id: str) -> None:
        """Delete a recurring task.

        Raises:
            NotFoundError: there is none.
        """
        await self._run(self._calls.recurring_tasks.delete(recurring_task_id))

    async def upcoming(self, recurring_task_id: str, count: int = 5) -> list[datetime]:
        """The next instants of a recurring task.

        Raises:
            NotFoundError: there is none.
        """
        return await self._run(self._calls.recurring_tasks.upcoming(recurring_task_id, count))

    async def run_recurring_task(self, recurring_task_id: str) -> Task:
        """Enqueue a task of a recurring task now, exactly once.

        Raises:
            NotFoundError: there is none.
        """
        return await self._run(self._calls.recurring_tasks.run(recurring_task_id))

    # ---------------------------------------------------------------- carrying out

    async def _run(self, call: Call[T]) -> T:
        outcome: Answer | NoAnswerError | None = None
        try:
            while True:
                outcome = await self._carry_out(resume(call, outcome))
        except StopIteration as end:
            returned: T = end.value
            return returned

    async def _carry_out(self, wanted: Request | Pause) -> Answer | NoAnswerError | None:
        if isinstance(wanted, Pause):
            await self._clock.sleep(wanted.seconds)
            return None
        try:
            return answer_of(await self._http.request(**httpx_arguments(wanted)))
        except httpx.RequestError as error:
            return no_answer(error)
