"""Tasks in memory, and the moves between their states, as a server makes them.

Everything is in the form of the wire: what a client sends is kept, and what it is told is a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tasques.client.durations import duration_text, read_duration
from tasques.client.errors import ApiError, api_error
from tasques.client.transport import new_id

Members = dict[str, Any]

RETRY_TIMES: Final = 25
PROCESSING_TIMEOUT: Final = timedelta(minutes=30)
_TIMED_OUT: Final = {"timed_out": "The worker was silent for too long."}
_FORBIDDEN_IN_QUEUE: Final = frozenset('\\/*?"<>| ,#:%')


class FakeTasks:
    """Tasks by queue and id. Retries come without the random part: after 15 seconds at first."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._tasks: dict[tuple[str, str], Members] = {}
        self._writes = 0

    def create(self, new: Members) -> Members:
        """Enqueue a task."""
        problems = [f"{name}: is required" for name in ("queue", "kind") if not new.get(name)]
        queue = new.get("queue") or ""
        if queue != queue.lower():
            problems.append("queue: must be in lower case")
        if _FORBIDDEN_IN_QUEUE.intersection(queue):
            problems.append("queue: must not contain such characters")
        if problems:
            raise api_error(400, message="\n".join(problems), code="invalid_request")
        key = (queue, new.get("id") or new_id())
        if key in self._tasks:
            text = f"There is a task {key[1]!r} in queue {queue!r} already."
            raise api_error(409, message=text, code="task_already_exists")
        now = _text(self._now())
        timeout = new.get("processing_timeout") or duration_text(PROCESSING_TIMEOUT)
        self._tasks[key] = {
            "queue": queue,
            "id": key[1],
            "kind": new["kind"],
            "state": "queued",
            "priority": new.get("priority") or 0,
            "retry_times": RETRY_TIMES if new.get("retry_times") is None else new["retry_times"],
            "attempted": 0,
            "processing_timeout": timeout,
            "run_at": new.get("run_at") or now,
            "last_enqueued_at": now,
            "metadata": {"created_at": now},
            **{
                name: new[name]
                for name in ("args", "context", "recurring_task_id", "traceparent")
                if new.get(name) is not None
            },
        }
        return self._changed(self._tasks[key])

    def get(self, queue: str, task_id: str) -> Members:
        """Read a task."""
        self._reap()
        return dict(self._find(queue, task_id))

    def list_all(self) -> list[Members]:
        """Every task, in the order of their creation."""
        self._reap()
        return [dict(each) for each in self._tasks.values()]

    def claim(self, worker_id: str, queues: list[str], amount: int) -> list[Members]:
        """Claim what is due, in the order of priority and `run_at`."""
        self._reap()
        now = self._now()
        due = [
            task
            for task in self._tasks.values()
            if task["state"] in {"queued", "failed"}
            and datetime.fromisoformat(task["run_at"]) <= now
            and (not queues or task["queue"] in queues)
        ]
        due.sort(key=lambda task: (-task["priority"], datetime.fromisoformat(task["run_at"])))
        return [self._claim(task, worker_id) for task in due[:amount]]

    def report(self, queue: str, task_id: str, worker_id: str, data: Members | None) -> Members:
        """Note a sign of life."""
        task = self._claimed(queue, task_id, worker_id)
        task["last_claimed"] = task["last_claimed"] | {
            "last_report": self._with_data("data", data),
            "times_out_at": self._times_out_at(task),
        }
        return self._changed(task)

    def finish(
        self, queue: str, task_id: str, worker_id: str, outcome: str, data: Members | None
    ) -> Members:
        """End an attempt."""
        task = self._claimed(queue, task_id, worker_id)
        self._end(task, outcome, data)
        return dict(task)

    def unclaim(self, queue: str, task_id: str, worker_id: str) -> Members:
        """Take a task back."""
        task = self._claimed(queue, task_id, worker_id)
        task |= {"state": "queued", "attempted": task["attempted"] - 1}
        return self._changed(task)

    def _claim(self, task: Members, worker_id: str) -> Members:
        task |= {"state": "claimed", "attempted": task["attempted"] + 1}
        task["last_claimed"] = {
            "worker_id": worker_id,
            "claimed_at": _text(self._now()),
            "times_out_at": self._times_out_at(task),
            "claim_id": new_id(),
        }
        return self._changed(task)

    def _claimed(self, queue: str, task_id: str, worker_id: str) -> Members:
        self._reap()
        task = self._find(queue, task_id)
        if task["state"] != "claimed":
            text = f"Task {task_id!r} in queue {queue!r} is not claimed: it is {task['state']}."
            raise api_error(400, message=text, code="not_claimed")
        if task["last_claimed"]["worker_id"] != worker_id:
            text = f"Task {task_id!r} in queue {queue!r} is not claimed by worker {worker_id!r}."
            raise api_error(403, message=text, code="not_owned_by_worker")
        return task

    def _end(self, task: Members, outcome: str, data: Members | None) -> None:
        result = self._with_data("success" if outcome == "done" else "failure", data)
        task["last_claimed"] = task["last_claimed"] | {"result": result}
        if outcome == "done":
            task["state"] = "done"
        elif task["attempted"] > task["retry_times"]:
            task["state"] = "dead"
        else:
            pause = timedelta(seconds=15 + (task["attempted"] - 1) ** 4)
            task |= {"state": "failed", "run_at": _text(self._now() + pause)}
        self._changed(task)

    def _find(self, queue: str, task_id: str) -> Members:
        try:
            return self._tasks[queue, task_id]
        except KeyError:
            raise _not_found(queue, task_id) from None

    def _reap(self) -> None:
        """Fail what is overdue."""
        now = self._now()
        for task in self._tasks.values():
            if task["state"] == "claimed":
                times_out_at = datetime.fromisoformat(task["last_claimed"]["times_out_at"])
                if times_out_at <= now:
                    self._end(task, "failed", _TIMED_OUT)

    def _times_out_at(self, task: Members) -> str:
        return _text(self._now() + read_duration(task["processing_timeout"]))

    def _with_data(self, name: str, data: Members | None) -> Members:
        return {"at": _text(self._now())} | ({} if data is None else {name: data})

    def _changed(self, task: Members) -> Members:
        self._writes += 1
        version = {"seq_num": self._writes, "primary_term": 1}
        metadata = task["metadata"] | {"modified_at": _text(self._now()), "version": version}
        task["metadata"] = metadata
        return dict(task)


def _not_found(queue: str, task_id: str) -> ApiError:
    text = f"There is no task {task_id!r} in queue {queue!r}."
    return api_error(404, message=text, code="task_not_found")


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
