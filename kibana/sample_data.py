"""Tasks as a shop might have them: some days of work, with mishaps."""

from __future__ import annotations

import math
from datetime import timedelta
from random import Random

import orjson

from tasques.domain.recurring import RecurringTask, TaskDefinition
from tasques.domain.task import JsonText, NewTask, Task
from tasques.repository.documents import to_document
from tasques.repository.recurring_documents import to_document as to_recurring_document

DAYS = 7
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

# Share of the tasks, kinds, workers, seconds of work, share of attempts that fail, and why.
_QUEUES = {
    "mails": (0.5, ("welcome", "receipt", "newsletter"), 4, 0.8, 0.03, "connection refused"),
    "images": (0.25, ("thumbnail", "watermark"), 3, 4.0, 0.02, "no space left on device"),
    "payments": (0.15, ("charge", "refund"), 2, 1.6, 0.05, "card declined"),
    "reports": (0.1, ("daily-sales", "export"), 2, 25.0, 0.04, "query timed out"),
}
_RECURRING = (
    ("nightly-report", "30 2 * * *", "reports", "daily-sales"),
    ("newsletter", "0 9 * * 1", "mails", "newsletter"),
    ("clean-up", "@every 15m", "images", "thumbnail"),
)


def sample(now, *, tasks=1500, seed=7):
    """Documents by what they are of: `tasks`, `archive` and `recurring`; so many tasks a day."""
    random = Random(seed)
    found = {"tasks": [], "archive": [], "recurring": []}
    for number in range(tasks * DAYS):
        created = now - DAYS * _DAY * random.random()
        if random.random() < _business(created):
            task = _life(random, number, created, now)
            is_over = task.state in ("done", "dead")
            old = is_over and task.last_claimed.result.at < now - _DAY
            found["archive" if old else "tasks"].append(to_document(task, "w"))
    found["tasks"] += [
        to_document(_waiting(random, n, now), "w") for n in range(max(1, tasks // 20))
    ]
    found["recurring"] = [to_recurring_document(each, "w") for each in _recurring(random, now)]
    return {of: [orjson.loads(each) for each in documents] for of, documents in found.items()}


def _business(instant):
    """How busy it is: most at noon, least in the night."""
    hour = instant.hour + instant.minute / 60
    return 0.55 - 0.45 * math.cos(hour / 24 * 2 * math.pi)


def _enqueued(random, number, created, *, run_at):
    queue = random.choices(list(_QUEUES), [share for share, *_ in _QUEUES.values()])[0]
    new = NewTask(
        id=f"task-{number}",
        queue=queue,
        kind=random.choice(_QUEUES[queue][1]),
        priority=0,
        retry_times=3,
        processing_timeout=timedelta(minutes=30),
        run_at=run_at,
    )
    return Task.enqueue(new, at=created, incarnation=f"i{number}")


def _waiting(random, number, now):
    """Enqueued not long ago, or for later; some are being worked on, some have failed once."""
    fate = random.random()
    ago = 6 * _HOUR * random.random() ** 2 if fate < 0.8 else 120 * _SECOND
    created = now - ago * random.random()
    run_at = now + 12 * _HOUR * random.random() if fate < 0.3 else created
    task = _enqueued(random, f"w{number}", created, run_at=run_at)
    if fate < 0.8:
        return task
    worker, reason = f"{task.queue}-1", _QUEUES[task.queue][-1]
    task = task.claim(worker_id=worker, at=created, claim_id=f"w{number}")
    at = created + (now - created) * random.random()
    return task if fate < 0.9 else _failed(task, worker, at, reason, now + 300 * _SECOND)


def _failed(task, worker, at, reason, retry_at):
    failure = JsonText(orjson.dumps({"message": reason}).decode())
    return task.fail(worker_id=worker, at=at, failure=failure, retry_at=retry_at)


def _life(random, number, created, now):
    """From its creation on, as far as it goes until now."""
    task = _enqueued(random, number, created, run_at=created)
    _, _, workers, seconds, failing, reason = _QUEUES[task.queue]
    at = created
    while True:
        at += _SECOND * random.lognormvariate(-0.5 + 2 * _business(created), 0.9)
        if at > now:
            return task
        worker = f"{task.queue}-{random.randint(1, workers)}"
        task = task.claim(worker_id=worker, at=at, claim_id=f"c{number}")
        at += _SECOND * seconds * random.lognormvariate(0, 0.5)
        if at > now:
            return task
        never_works = _hash(number) % 97 == 0
        if random.random() >= failing and not never_works:
            return task.complete(worker_id=worker, at=at, success=None)
        retry_at = at + 60 * _SECOND * 4**task.attempted
        task = _failed(task, worker, at, reason, retry_at)
        if task.state == "dead":
            return task
        at = retry_at


def _hash(number):
    return number * 2654435761 % 2**32 >> 8


def _recurring(random, now):
    for name, schedule, queue, kind in _RECURRING:
        yield RecurringTask(
            id=name,
            schedule_expression=schedule,
            definition=TaskDefinition(
                queue=queue,
                kind=kind,
                retry_times=3,
                priority=0,
                processing_timeout=timedelta(minutes=30),
            ),
            created_at=now - 30 * _DAY,
            modified_at=now,
            schedule_since=now - 30 * _DAY,
            last_fired_at=now - 15 * 60 * _SECOND * (1 + 20 * random.random()),
            incarnation=f"i-{name}",
        )
