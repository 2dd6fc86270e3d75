"""What can be asked about tasks, as calls that both clients carry out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote

from tasques.client.durations import duration_text
from tasques.client.errors import (
    AlreadyExistsError,
    ConflictError,
    NoAnswerError,
    NotClaimedError,
    NotFoundError,
    NotOwnedByWorkerError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from tasques.client.exchange import Call, Doubt, Exchange, Pause, Request
from tasques.client.models import JsonObject, NewTask, Task, TaskDefinition
from tasques.client.wire import members_of, read_task, read_tasks

WORKER_HEADER: Final = "X-TASQUES-WORKER-ID"
REFUSED_FINISH: Final = (NotClaimedError, NotOwnedByWorkerError, NotFoundError, ConflictError)
"""What is answered when a claim is gone, also because it was finished before."""

_FIRST_LOOK: Final = 0.1
_RARELY: Final = 2.0  # seconds between looks in the long run
_SLOWER: Final = 1.5

T = TypeVar("T")


class TaskCalls:
    """The calls about single tasks."""

    def __init__(self, exchange: Exchange, new_id: Callable[[], str]) -> None:
        self._exchange = exchange
        self._new_id = new_id

    def enqueue(self, new: NewTask) -> Call[Task]:
        """Create a task, once, however often the request has to be repeated."""
        is_id_ours = new.id is None
        new = self.with_id(new)
        request = Request("POST", "/tasques", json_body(members_of(new)))
        doubt = Doubt()
        try:
            return read(read_task, (yield from self._exchange.ask(request, doubt)))
        except AlreadyExistsError:
            if not (doubt.exists or is_id_ours):
                raise
            task = yield from self.get(new.queue, new.id or "")
            if not is_id_ours and not is_what_was_sent(task, new):
                raise
            return task

    def with_id(self, new: NewTask) -> NewTask:
        """The task with an id, so that it can be sent twice."""
        return replace(new, id=self._new_id()) if new.id is None else new

    def get(self, queue: str, task_id: str) -> Call[Task]:
        """Read a task."""
        request = Request("GET", f"/tasques/{place(queue, task_id)}")
        return read(read_task, (yield from self._exchange.ask(request)))

    def wait(
        self, queue: str, task_id: str, timeout: float, monotonic: Callable[[], float]
    ) -> Call[Task]:
        """Read a task until it is finished."""
        until = monotonic() + timeout
        pause = _FIRST_LOOK
        task: Task | None = None
        while True:
            try:
                task = yield from self.get(queue, task_id)
            except (NoAnswerError, UnavailableError):
                if monotonic() >= until:
                    raise
            if task is not None and task.is_finished:
                return task
            left = until - monotonic()
            if left <= 0:
                raise WaitTimeoutError(task)
            yield Pause(min(pause, left))
            pause = min(pause * _SLOWER, _RARELY)

    def claim(
        self, queues: Sequence[str], worker_id: str, amount: int, block_for: timedelta
    ) -> Call[list[Task]]:
        """Claim tasks. A repetition may find that others have what was claimed for the first try."""
        wish = {"queues": list(queues), "amount": amount, "block_for": duration_text(block_for)}
        request = Request(
            "POST", "/tasques/claims", json_body(wish), headers={WORKER_HEADER: worker_id}
        )
        seconds = max(0.0, block_for.total_seconds())
        return read(read_tasks, (yield from self._exchange.ask(request, blocks_for=seconds)))

    def report(self, task: Task, data: JsonObject | None) -> Call[Task]:
        """Give a sign of life."""
        return read(read_task, (yield from self._tell("reports", task, data)))

    def finish(self, task: Task, outcome: str, data: JsonObject | None) -> Call[Task]:
        """End an attempt. That the same claim was ended so before is as good as doing it now."""
        try:
            return read(read_task, (yield from self._tell(outcome, task, data)))
        except REFUSED_FINISH:
            stored = yield from self.stored_if_any(task)
            if stored is None or not has_finished(stored, task, outcome, data):
                raise
            return stored

    def unclaim(self, task: Task) -> Call[Task]:
        """Give a task back. That it was given back before is as good as doing it now."""
        request = Request(
            "DELETE",
            f"/tasques/claims/{place(task.queue, task.id)}",
            headers={WORKER_HEADER: worker_of(task)},
            traceparent=task.traceparent,
        )
        try:
            return read(read_task, (yield from self._exchange.ask(request)))
        except REFUSED_FINISH:
            stored = yield from self.stored_if_any(task)
            if stored is None or stored.state != "queued" or not is_same_claim(stored, task):
                raise
            return stored

    def stored_if_any(self, task: Task) -> Call[Task | None]:
        """The task as it is now, or None."""
        try:
            return (yield from self.get(task.queue, task.id))
        except NotFoundError:
            return None

    def _tell(self, what: str, task: Task, data: JsonObject | None) -> Call[Any]:
        members: dict[str, Any] = {} if data is None else {"data": dict(data)}
        request = Request(
            "PUT",
            f"/tasques/{what}/{place(task.queue, task.id)}",
            json_body(members),
            headers={WORKER_HEADER: worker_of(task)},
            traceparent=task.traceparent,
        )
        return (yield from self._exchange.ask(request))


def is_what_was_sent(stored: Any, asked: Any) -> bool:
    """Whether something stored is what was asked for, as far as that was said."""
    said = {name: getattr(asked, name) for name in asked.__dataclass_fields__}
    return all(
        _same(getattr(stored, name), value) for name, value in said.items() if value is not None
    )


def has_finished(stored: Task, task: Task, outcome: str, data: JsonObject | None) -> bool:
    """Whether the claim of `task` was ended in that way."""
    if not is_same_claim(stored, task) or stored.result is None:
        return False
    if outcome == "done":
        return stored.state == "done"
    return stored.state in {"failed", "dead"} and _same(stored.result.failure, data)


def is_same_claim(stored: Task, task: Task) -> bool:
    """Whether nobody has claimed the task since `task` was claimed."""
    ours, theirs = task.last_claimed, stored.last_claimed
    if ours is None or theirs is None:
        return False
    return (ours.worker_id, ours.claimed_at, ours.claim_id) == (
        theirs.worker_id,
        theirs.claimed_at,
        theirs.claim_id,
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same on the wire."""
    if isinstance(other, TaskDefinition):
        return is_what_was_sent(one, other)
    if isinstance(other, Mapping) and isinstance(one, Mapping):
        return bool(json.loads(json_body(one)) == json.loads(json_body(other)))
    return bool(one == other)


def worker_of(task: Task) -> str:
    """Who claimed a task.

    Raises:
        ValueError: nobody did.
    """
    if task.last_claimed is None:
        raise ValueError(f"Task {task.id!r} was never claimed.")
    return task.last_claimed.worker_id


def json_body(members: Mapping[str, Any]) -> bytes:
    """The JSON to send.

    Raises:
        TypeError, ValueError: there is something that JSON does not know.
    """
    return json.dumps(dict(members), separators=(",", ":"), allow_nan=False).encode()


def place(*parts: str) -> str:
    """The parts of a path."""
    return "/".join(quote(part, safe="") for part in parts)


def read(reader: Callable[[Any], T], said: Any) -> T:
    """Read what an answer says.

    Raises:
        UnexpectedAnswerError: it is something else.
    """
    try:
        return reader(said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswerError(f"The answer has an unknown form: {error!r}") from error
