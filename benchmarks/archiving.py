"""How long 100,000 finished tasks take to be archived, and how much memory the server takes.

    python benchmarks/archiving.py [--count 100000] [--nodes 3]

It starts an Elasticsearch and a server of its own, as `run.py` does. With three nodes each index
has a replica, and one of the nodes, that of the archive's primary, is killed when half of the
tasks are archived. In the end each task must be in the archive, once, and nowhere else.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elasticsearch import ApiError, Elasticsearch, TransportError
from elasticsearch.helpers import scan, streaming_bulk
from run import FIRST_PORT, FULL_COMPILER, server

from tasques.domain.task import JsonText, NewTask, Task
from tasques.embedded import Cluster, Node
from tasques.repository.documents import document_id, to_document
from tasques.repository.indices import IndexNames

NAMES = IndexNames("archiving")
SETTINGS = {
    "RECURRING_TASKS_ARCHIVER_RUN_INTERVAL": "1s",
    "RECURRING_TASKS_ARCHIVER_ARCHIVE_OLDER_THAN": "1h",
    "ELASTICSEARCH_INDEX_PREFIX": NAMES.prefix,
}
ENDED = timedelta(hours=2)  # ago
PATIENCE = 600.0
PADDING = JsonText('{"padding":"' + "x" * 256 + '"}')


def done_tasks(count: int) -> Iterator[dict[str, object]]:
    """What the tasks look like that the archiver will move, as bulk actions."""
    began = datetime.now(UTC) - ENDED
    for number in range(count):
        new = NewTask(
            id=f"{number}",
            queue="q",
            kind="k",
            priority=0,
            retry_times=3,
            processing_timeout=timedelta(minutes=30),
            run_at=began,
            args=PADDING,
        )
        task = Task.enqueue(new, at=began, incarnation=f"{number:022}")
        task = task.claim(worker_id="w", at=began, claim_id="c")
        task = task.complete(worker_id="w", at=began, success=PADDING)
        yield {
            "_op_type": "create",
            "_index": NAMES.tasks_alias,
            "_id": document_id(task.queue, task.id),
            "_source": to_document(task, "w").decode(),
        }


def fill(client: Elasticsearch, count: int) -> None:
    for _ in streaming_bulk(client, done_tasks(count), chunk_size=1000):
        pass
    client.indices.refresh(index=NAMES.tasks_alias)


def megabytes(pid: int) -> float:
    """What the process has in memory now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) / 1024


def archived(client: Elasticsearch) -> int:
    """How many tasks can be found in the archive; the last figure is asked of all shards."""
    try:
        client.indices.refresh(index=NAMES.archive_alias)
        return int(client.count(index=NAMES.archive_alias)["count"])
    except (ApiError, TransportError):  # a node has just been killed
        return 0


def node_of_the_archive(client: Elasticsearch, nodes: list[Node]) -> Node:
    shards = client.cat.shards(index=NAMES.archive_alias, h="prirep,node", format="json")
    name = next(shard["node"] for shard in shards if shard["prirep"] == "p")
    return next(node for node in nodes if node.name == name)


def check(client: Elasticsearch, count: int) -> None:
    client.indices.refresh(index=f"{NAMES.archive_alias},{NAMES.tasks_alias}")
    left = client.count(index=NAMES.tasks_alias)["count"]
    hits = scan(client, index=NAMES.archive_alias, size=5000, _source=False)
    ids = sorted(hit["_id"] for hit in hits)
    if left or ids != sorted(f"q:{number}:{number:022}" for number in range(count)):
        raise SystemExit(f"WRONG: {left} left, {len(ids)} archived, {len(set(ids))} different")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=1, choices=[1, 3])
    options = parser.parse_args()
    replicas = "1" if options.nodes > 1 else "0"
    idle = {"RECURRING_TASKS_ARCHIVER_ARCHIVE_OLDER_THAN": "24h"}
    heap = "1g" if options.nodes == 1 else "512m"
    with (
        Cluster(options.nodes, heap=heap, java_options=FULL_COMPILER) as cluster,
        Elasticsearch(cluster.urls, request_timeout=60) as client,
    ):
        settings = SETTINGS | {"ELASTICSEARCH_REPLICAS": replicas}
        addresses = ",".join(cluster.urls)
        with server(addresses, NAMES.prefix, FIRST_PORT, settings | idle) as pid:
            fill(client, options.count)
            time.sleep(5)
            print(f"idle beside {options.count:,} tasks: {megabytes(pid):.0f} MB", flush=True)
        with server(addresses, NAMES.prefix, FIRST_PORT, settings) as pid:
            watch(client, cluster, pid, options.count)
        check(client, options.count)


def watch(client: Elasticsearch, cluster: Cluster, pid: int, count: int) -> None:
    began = time.monotonic()
    memory: list[float] = []
    to_kill = len(cluster.nodes) > 1
    for tick in itertools.count():
        memory.append(megabytes(pid))
        if tick % 10 == 0:
            found = archived(client)
            if to_kill and found > count / 2:
                node_of_the_archive(client, cluster.nodes).kill()
                to_kill = False
                print(f"a node was killed after {found:,}", flush=True)
            if found >= count:
                break
            if time.monotonic() > began + PATIENCE:
                raise SystemExit(f"only {found:,} archived in {PATIENCE} s")
        time.sleep(0.1)
    seconds = time.monotonic() - began
    tenths = [max(memory[len(memory) * n // 10 : len(memory) * (n + 1) // 10]) for n in range(10)]
    print(f"{count:,} tasks archived in {seconds:.1f} s, {count / seconds:,.0f}/s")
    print("MB in each tenth of that time:", ", ".join(f"{most:.0f}" for most in tenths))


if __name__ == "__main__":
    main()
