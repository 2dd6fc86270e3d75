"""Many tasks, or results, in few requests; each item is judged for itself.

Items that are refused for now, or whose request was not answered, are sent again until the time is
over. So every item ends with the outcome that it would have had alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tasques.client.calls import (
    REFUSED_FINISH,
    WORKER_HEADER,
    TaskCalls,
    has_finished,
    is_what_was_sent,
    json_body,
    read,
    worker_of,
)
from tasques.client.errors import (
    AlreadyExistsError,
    BatchError,
    NoAnswerError,
    TasquesError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
)
from tasques.client.exchange import Call, Exchange, Pause, Request, is_doubtful, once, refusal
from tasques.client.models import NewTask, Task, TaskResult
from tasques.client.wire import members_of, read_task

MAX_ITEMS: Final = 1000
MAX_BYTES: Final = 4 * 1024 * 1024  # servers take 5 MiB if they are not told otherwise

Outcome = Task | TasquesError


@dataclass(slots=True)
class _Item:
    """One item on its way.

    Attributes:
        is_doubtful: an earlier try may have been carried out.
    """

    body: bytes
    outcome: Outcome | None = None
    is_doubtful: bool = False


class BatchCalls:
    """The calls about many tasks."""

    def __init__(self, exchange: Exchange, tasks: TaskCalls) -> None:
        self._exchange = exchange
        self._tasks = tasks

    def enqueue_many(self, tasks: Sequence[NewTask]) -> Call[list[Task]]:
        """Create tasks, each once."""
        new = [self._tasks.with_id(each) for each in tasks]
        items = [_Item(json_body(members_of(each))) for each in new]
        yield from self._send(items, Request("POST", "/tasques/batch"), "tasks")
        for given, sent, item in zip(tasks, new, items, strict=True):
            if isinstance(item.outcome, AlreadyExistsError) and (
                item.is_doubtful or given.id is None
            ):
                stored = yield from self._stored(sent.queue, sent.id or "")
                if stored is not None and (given.id is None or is_what_was_sent(stored, sent)):
                    item.outcome = stored
        return _all_good(items)

    def finish_many(self, results: Sequence[TaskResult]) -> Call[list[Task]]:
        """End attempts, each once."""
        items = [_Item(json_body(_result_members(each))) for each in results]
        workers: dict[str, list[_Item]] = {}
        for result, item in zip(results, items, strict=True):
            workers.setdefault(worker_of(result.task), []).append(item)
        traceparent = _common_traceparent(results)
        for worker_id, theirs in workers.items():
            request = Request(
                "POST",
                "/tasques/results/batch",
                headers={WORKER_HEADER: worker_id},
                traceparent=traceparent,
            )
            yield from self._send(theirs, request, "results")
        for result, item in zip(results, items, strict=True):
            if isinstance(item.outcome, REFUSED_FINISH):
                stored = yield from self._stored(result.task.queue, result.task.id)
                if stored is not None and has_finished(
                    stored, result.task, result.outcome, result.data
                ):
                    item.outcome = stored
        return _all_good(items)

    def _stored(self, queue: str, task_id: str) -> Call[Task | None]:
        try:
            return (yield from self._tasks.get(queue, task_id))
        except TasquesError:  # then what was answered before stands
            return None

    def _send(self, items: Sequence[_Item], request: Request, name: str) -> Call[None]:
        """Send items, as a list of that name, until each has an outcome or the time is over."""
        until = self._exchange.monotonic() + self._exchange.timeout
        left: Sequence[_Item] = items
        tries = 0
        while left:
            sent: list[_Item] = []
            for chunk in _chunks(left):
                sent.extend(chunk)
                yield from self._send_chunk(chunk, request, name)
                if isinstance(chunk[0].outcome, NoAnswerError):
                    break  # the others would not fare better
            left = [item for item in items if item.outcome is None or _is_passing(item.outcome)]
            pause = self._exchange.pause_after(tries, _first_error(sent))
            if left and self._exchange.monotonic() + pause < until:
                tries += 1
                yield Pause(pause)
            elif left:
                _give_up(left, _first_error(sent))
                return

    def _send_chunk(self, chunk: Sequence[_Item], request: Request, name: str) -> Call[None]:
        body = b'{"%b":[%b]}' % (name.encode(), b",".join(each.body for each in chunk))
        full = replace(request, body=body, timeout=self._exchange.try_timeout)
        try:
            outcomes = read(_read_outcomes, (yield from once(full)))
            if len(outcomes) != len(chunk):
                raise UnexpectedAnswerError(f"{len(chunk)} items, but {len(outcomes)} outcomes")
        except TooLargeError as error:
            if len(chunk) > 1:
                half = len(chunk) // 2
                yield from self._send_chunk(chunk[:half], request, name)
                yield from self._send_chunk(chunk[half:], request, name)
                return
            outcomes = [error]
        except TasquesError as error:
            outcomes = [error] * len(chunk)
        for item, outcome in zip(chunk, outcomes, strict=True):
            item.outcome = outcome
            item.is_doubtful |= isinstance(outcome, TasquesError) and is_doubtful(outcome)


def _common_traceparent(results: Sequence[TaskResult]) -> str | None:
    """A request can be in one trace only."""
    found = {result.task.traceparent for result in results}
    return found.pop() if len(found) == 1 else None


def _is_passing(outcome: Outcome) -> bool:
    return isinstance(outcome, (NoAnswerError, UnavailableError))


def _first_error(items: Sequence[_Item]) -> TasquesError | None:
    outcomes = (item.outcome for item in items)
    return next((each for each in outcomes if isinstance(each, TasquesError)), None)


def _give_up(items: Sequence[_Item], error: TasquesError | None) -> None:
    """Items that were never sent share the fate of those that were."""
    for item in items:
        if item.outcome is None:
            item.outcome = error


def _chunks(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    chunk: list[_Item] = []
    size = 0
    for item in items:
        if chunk and (len(chunk) == MAX_ITEMS or size + len(item.body) > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item.body) + 1
    if chunk:
        yield chunk


def _result_members(result: TaskResult) -> dict[str, Any]:
    members: dict[str, Any] = {
        "queue": result.task.queue,
        "id": result.task.id,
        "outcome": result.outcome,
    }
    return members if result.data is None else members | {"data": dict(result.data)}


def _read_outcomes(said: Any) -> list[Outcome]:
    return [
        read_task(item["task"])
        if item["status"] < 300
        else refusal(item["status"], item.get("error"))
        for item in said["items"]
    ]


def _all_good(items: Sequence[_Item]) -> list[Task]:
    outcomes = [item.outcome for item in items if item.outcome is not None]
    tasks = [outcome for outcome in outcomes if isinstance(outcome, Task)]
    if len(tasks) < len(items):
        raise BatchError(outcomes)
    return tasks
