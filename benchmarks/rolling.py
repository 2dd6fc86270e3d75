"""What clients notice while three servers behind a load balancer are replaced one by one.

    PYTHONPATH=tests python benchmarks/rolling.py [--workers 2] [--drain 0s]

It starts an Elasticsearch and servers of its own, eight producers, sixteen workers and a load
balancer that asks each server every second whether it is ready. In the end every task must have
been handed out and finished once. The clients keep their connections, and are in Python: they take
a good part of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from deployment import Deployment, Load, Sample
from processes import run
from relay import Balancer
from run import FULL_COMPILER

from tasques.embedded import Cluster

SERVERS = 3
PRODUCERS = 8
WORKERS = 16
PAUSE = 0.025  # seconds between two tasks of a producer
CALM = 15.0  # seconds before and after
INTERVAL = 1.0


async def measure(settings: dict[str, object], folder: Path) -> tuple[Load, list[float]]:
    """Returns what clients saw, and when calm ended, replacement ended, and calm ended again."""
    async with Balancer(INTERVAL) as balancer:
        with ExitStack() as stack:
            deployment = Deployment(stack, folder, settings, balancer)
            for _ in range(SERVERS):
                await deployment.start_one()
            load = Load(balancer.url, pause=PAUSE)
            marks = []
            async with asyncio.TaskGroup() as group:
                load.start(group, producers=PRODUCERS, workers=WORKERS)
                await asyncio.sleep(CALM / 3)  # of which nothing is shown
                marks.append(time.monotonic())
                await asyncio.sleep(CALM)
                marks.append(time.monotonic())
                for _ in range(SERVERS):
                    await deployment.replace_one()
                marks.append(time.monotonic())
                await asyncio.sleep(CALM)
                marks.append(time.monotonic())
                load.end()
            return load, marks


def check(load: Load) -> None:
    handed_out = Counter(task_id for task_id, _ in load.handed_out)
    twice = sum(count > 1 for count in handed_out.values())
    lost = len(load.created.keys() - load.done.keys())
    if twice or lost:
        raise SystemExit(f"WRONG: {lost} lost, {twice} handed out more than once")


def figures(samples: list[Sample], begin: float, end: float) -> str:
    taken = [seconds * 1000 for at, seconds in samples if begin <= at < end]
    quantiles = statistics.quantiles(taken, n=100)
    return f"{quantiles[49]:.1f} / {quantiles[98]:.1f} / {max(taken):.0f}"


def show(load: Load, marks: list[float]) -> None:
    print("| | done per second | create, p50 / p99 / max ms | create to claim, same |")
    print("|---|---|---|---|")
    for name, begin, end in zip(("before", "meanwhile", "after"), marks, marks[1:], strict=False):
        done = sum(begin <= at < end for at in load.done.values())
        print(
            f"| {name}, {end - begin:.0f} s | {done / (end - begin):.0f} "
            f"| {figures(load.creates, begin, end)} | {figures(load.claims, begin, end)} |"
        )
    print(f"{len(load.done)} tasks; {load.broken} requests without an answer;", end=" ")
    print(f"answers of 5xx: {dict(load.refused) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--drain", default="5s")
    options = parser.parse_args()
    with (
        Cluster(heap="1g", java_options=FULL_COMPILER) as cluster,
        TemporaryDirectory() as folder,
    ):
        settings = {
            "bind_address": "127.0.0.1:0",
            "workers": options.workers,
            "drain_delay": options.drain,
            "elasticsearch.addresses": cluster.urls[0],
            "elasticsearch.replicas": 0,
        }
        run("setup", folder=Path(folder), settings=settings)
        load, marks = asyncio.run(measure(settings, Path(folder)))
        show(load, marks)
        check(load)


if __name__ == "__main__":
    main()
