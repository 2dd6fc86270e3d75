"""How many tasks that do nothing one worker process works on, against one server.

    python benchmarks/worker.py [--tasks 20000] [--concurrency 100] [--plain] [--repeat 3]

It starts an Elasticsearch and a server of its own, as `run.py` does, enqueues the tasks with the
client, and then starts `tasques worker` on this file. What is measured is the time from the first
task that was begun to the last that the server has as done, as its documents tell.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from run import FIRST_PORT, FULL_COMPILER, delete, server

from tasques.client import AsyncClient, Client, NewTask
from tasques.embedded import Cluster
from tasques.worker import Context, Worker

URL = f"http://127.0.0.1:{FIRST_PORT}"
PATIENCE = 120.0  # seconds

worker = Worker(AsyncClient(URL), queues=["q"])


@worker.handler("async")
async def nothing(_: Context) -> None:
    pass


@worker.handler("plain")
def nothing_in_a_thread(_: Context) -> None:
    pass


def measure(
    elasticsearch: Elasticsearch, prefix: str, kind: str, count: int, concurrency: int
) -> float:
    """Tasks per second."""
    with Client(URL) as client:
        started = time.perf_counter()
        client.enqueue_many([NewTask("q", kind)] * count)
        print(f"enqueued {count / (time.perf_counter() - started):,.0f}/s")
    command = [str(Path(sys.executable).with_name("tasques")), "worker", "--app", "worker:worker"]
    with Path(os.devnull).open("w") as log:
        process = subprocess.Popen(
            [*command, "--concurrency", str(concurrency)], cwd=Path(__file__).parent, stderr=log
        )
    try:
        return count / wait_until_done(elasticsearch, prefix, count)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_until_done(elasticsearch: Elasticsearch, prefix: str, count: int) -> float:
    """The seconds from the first claim to the last result."""
    index = f"{prefix}-tasks"
    query = {"term": {"state": "done"}}
    until = time.monotonic() + PATIENCE
    while elasticsearch.count(index=index, query=query)["count"] < count:
        if time.monotonic() > until:
            raise SystemExit(f"not done in {PATIENCE} s")
        time.sleep(1)
    tasks = [hit["_source"] for hit in scan(elasticsearch, index=index, size=5000)]
    claimed = [datetime.fromisoformat(each["last_claimed"]["claimed_at"]) for each in tasks]
    ended = [datetime.fromisoformat(each["last_claimed"]["result"]["at"]) for each in tasks]
    return (max(ended) - min(claimed)).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--plain", action="store_true", help="handlers in threads")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    kind = "plain" if options.plain else "async"
    rates = []
    with (
        Cluster(heap="1g", java_options=FULL_COMPILER) as cluster,
        Elasticsearch(cluster.urls[0], request_timeout=PATIENCE) as elasticsearch,
    ):
        for number in range(options.repeat + 1):
            prefix = f"worker{number}"
            with server(cluster.urls[0], prefix, FIRST_PORT, {}):
                rate = measure(elasticsearch, prefix, kind, options.tasks, options.concurrency)
            delete(cluster.urls[0], prefix)
            print(f"{rate:,.0f} tasks/s{'' if number else ', to warm up'}", flush=True)
            rates.append(rate)
    print(f"median of {options.repeat}: {statistics.median(rates[1:]):,.0f} tasks/s")


if __name__ == "__main__":
    main()
