"""How long many recurring tasks that are due at the same minute take to be enqueued.

    python benchmarks/recurring.py [--count 10000] [--minutes 3] [--skip]

It starts an Elasticsearch and a server of its own, as `run.py` does, makes the recurring tasks,
and watches some minutes. For each it prints the seconds from the instant until all tasks are
stored, as seen by counting them again and again, and until the last of them was begun to be
written. Every instant must be there once for each recurring task.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from run import FIRST_PORT, FULL_COMPILER, server

from tasques.embedded import Cluster

PREFIX = "recurring"
CLIENTS = 8
PATIENCE = 50.0  # seconds for one minute's tasks
MINUTE = timedelta(minutes=1)


def make(url: str, numbers: range, *, skips: bool) -> None:
    """Make some recurring tasks for every minute, over one connection."""
    there = urlsplit(url)
    connection = HTTPConnection(there.hostname, there.port)
    for number in numbers:
        body = {
            "id": f"recurring-{number}",
            "schedule_expression": "* * * * *",
            "skip_if_outstanding_tasks_exist": skips,
            "task_definition": {"queue": "q", "kind": "k", "args": {"number": number}},
        }
        connection.request("POST", "/recurring_tasques", json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise SystemExit(f"POST /recurring_tasques: {answer.status}")
    connection.close()


def next_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE


def sleep_until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


def measure(client: Elasticsearch, instant: datetime, count: int) -> tuple[float, float]:
    """Seconds from an instant until so many tasks for it were seen, and the last was made."""
    query = {"term": {"scheduled_for": instant.isoformat()}}
    alias = f"{PREFIX}-tasks"
    sleep_until(instant)
    until = time.monotonic() + PATIENCE
    while True:
        client.indices.refresh(index=alias)
        asked_at = datetime.now(UTC)
        found = client.count(index=alias, query=query)["count"]
        if found >= count:
            break
        if time.monotonic() > until:
            raise SystemExit(f"only {found} of {count} tasks in {PATIENCE} s")
        time.sleep(0.1)
    last = client.search(index=alias, query=query, size=1, sort=[{"metadata.created_at": "desc"}])[
        "hits"
    ]["hits"][0]["_source"]
    made_at = datetime.fromisoformat(last["metadata"]["created_at"])
    return (asked_at - instant).total_seconds(), (made_at - instant).total_seconds()


def check(client: Elasticsearch, instants: list[datetime], count: int) -> None:
    fired = Counter(
        (hit["_source"]["recurring_task_id"], hit["_source"]["scheduled_for"])
        for hit in scan(
            client,
            index=f"{PREFIX}-tasks",
            size=5000,
            _source_includes=["*_task_id", "scheduled_for"],
        )
    )
    per_instant = Counter(datetime.fromisoformat(instant) for _, instant in fired)
    wrong = [instant for instant in instants if per_instant[instant] != count]
    if wrong or set(fired.values()) != {1}:
        raise SystemExit(f"WRONG: {per_instant}, most often {fired.most_common(1)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--skip", action="store_true", help="skip if outstanding; one minute only")
    options = parser.parse_args()
    minutes = 1 if options.skip else options.minutes
    url = f"http://127.0.0.1:{FIRST_PORT}"
    with (
        Cluster(heap="1g", java_options=FULL_COMPILER) as cluster,
        server(cluster.urls[0], PREFIX, FIRST_PORT, {}),
        Elasticsearch(cluster.urls[0], request_timeout=PATIENCE) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        # Early in a minute, so that all are made before the first one that counts.
        sleep_until(next_minute() + timedelta(seconds=1))
        shares = [range(start, options.count, CLIENTS) for start in range(CLIENTS)]
        list(clients.map(lambda share: make(url, share, skips=options.skip), shares))
        first = next_minute()
        instants = [first + number * MINUTE for number in range(minutes)]
        for instant in instants:
            seen, made = measure(client, instant, options.count)
            print(
                f"{instant:%H:%M}  {options.count} tasks stored after {seen:.2f} s, "
                f"the last of them made after {made:.2f} s",
                flush=True,
            )
        check(client, instants, options.count)
        print("each recurring task once for each minute")


if __name__ == "__main__":
    main()
