"""A node is killed, or freezes, under load: what was answered is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from random import Random
from uuid import uuid4

import pytest
from elasticsearch import AsyncElasticsearch
from factories import START, a_task

from tasques.clock import SystemClock
from tasques.domain.errors import (
    TaskNotFoundError,
    TasquesError,
    UnavailableError,
    UnresolvedWriteError,
)
from tasques.domain.ports import Lane
from tasques.domain.task import Task, TaskState
from tasques.repository.bulk import BulkWriter, WriteLimits
from tasques.repository.connection import Connection
from tasques.repository.indices import IndexNames
from tasques.repository.reads import DocumentReader
from tasques.repository.setup import setup
from tasques.repository.tasks import ElasticsearchTaskRepository
from tasques.unique import UniqueMarks

pytestmark = pytest.mark.elasticsearch

PATIENCE = 120.0
CLIENTS = 96
# So that at any moment some are between their execution and their answer.
MANY_SMALL_REQUESTS = WriteLimits(max_in_flight=8, max_operations=16)


@dataclass
class Load:
    """Clients that create, claim and finish tasks of their own until they are told to stop.

    Every id is fresh and every task has one owner, so any conflict would be a false one.

    Attributes:
        stored: the last version of each task that was answered.
        unsure: what may or may not be stored.
        absent: the ids of what was answered not to be stored.
        failures: what else was answered.
        steps: how many writes succeeded.
    """

    tasks: ElasticsearchTaskRepository
    stored: dict[str, Task] = field(default_factory=dict)
    unsure: dict[str, tuple[Task | None, Task]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    steps: int = 0
    is_over: bool = False
    clients: list[asyncio.Task] = field(default_factory=list)
    numbers: count = field(default_factory=count)

    async def client(self):
        while not self.is_over:
            await self.life(a_task(id=f"{next(self.numbers)}-{uuid4().hex}"))

    async def life(self, new):
        """From creation to done, or to the first write that did not succeed."""
        task = await self.write(None, new, self.tasks.create(new))
        for move, lane in (
            (lambda task: task.claim(worker_id="w", at=START, claim_id=task.id), Lane.CLAIM),
            (lambda task: task.report(worker_id="w", at=START, data=None), Lane.ACKNOWLEDGE),
            (lambda task: task.complete(worker_id="w", at=START, success=None), Lane.ACKNOWLEDGE),
        ):
            if task is not None:
                moved = move(task)
                task = await self.write(task, moved, self.tasks.update(moved, lane))

    async def write(self, before, after, writing):
        try:
            written = await writing
        except UnresolvedWriteError:
            self.unsure[after.id] = before, after
        except UnavailableError:
            if before is None:
                self.absent.add(after.id)
        except TasquesError as error:
            self.failures.append(error)
        else:
            self.stored[after.id] = written
            self.steps += 1
            return written
        return None


@asynccontextmanager
async def under_load(cluster, **settings):
    """An index with a replica, and clients at work on it."""
    names = IndexNames(f"test-{uuid4().hex}")
    async with AsyncElasticsearch(cluster.urls, request_timeout=PATIENCE) as client:
        await setup(
            client, names=names, shards=1, replicas=1, refresh_interval=timedelta(seconds=1)
        )
        await client.cluster.health(index=names.tasks_index, wait_for_status="green")
        clock = SystemClock()
        connection = Connection(client, authorization=None)
        writer = BulkWriter(connection, limits=MANY_SMALL_REQUESTS, clock=clock, random=Random())
        reader = DocumentReader(
            connection,
            clock=clock,
            random=Random(),
            deadline=8.0,
            request_timeout=5.0,
            max_pending=1000,
        )
        load = Load(
            ElasticsearchTaskRepository(
                alias=names.tasks_alias,
                archive_alias=names.archive_alias,
                connection=connection,
                writer=writer,
                reader=reader,
                clock=clock,
                new_write_id=UniqueMarks(),
                request_timeout=5.0,
            )
        )
        load.clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
        try:
            await until(lambda: load.steps > 300)
            yield client, names, load
        finally:
            await stop(load)
            await writer.close(0)
            await reader.close()
            await client.indices.delete(index=names.tasks_index)


async def stop(load):
    """Let every client come to an end."""
    load.is_over = True
    await asyncio.gather(*load.clients)


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0.02)


async def nodes_of(client, index):
    """Where the primary and the replica are."""
    shards = await client.cat.shards(index=index, h="prirep,node", format="json")
    return {shard["prirep"]: shard["node"] for shard in shards}


async def lives_on(load, steps=1000):
    """The load goes on for a while."""
    goal = load.steps + steps
    await until(lambda: load.steps > goal)


async def differences(load):
    """Where Elasticsearch is not as was answered."""
    found = {}
    for task_id in load.stored.keys() | load.unsure.keys() | load.absent:
        try:
            task = await load.tasks.get("mail", task_id)
        except TaskNotFoundError:
            task = None
        if not is_true(load, task_id, task):
            found[task_id] = (load.stored.get(task_id), load.unsure.get(task_id), task)
    return found


def is_true(load, task_id, found):
    if task_id in load.unsure:
        before, after = load.unsure[task_id]
        state = None if found is None else found.state
        return state in (before and before.state, after.state)
    return found == load.stored.get(task_id)


@pytest.mark.parametrize("role", ["p", "r"])
async def test_a_node_that_is_killed_makes_no_answer_untrue(three_nodes, role):
    """No create gets a false 409, no claim is lost to nobody, no answered write is gone."""
    async with under_load(three_nodes) as (client, names, load):
        name = (await nodes_of(client, names.tasks_index))[role]
        (node,) = (node for node in three_nodes.nodes if node.name == name)
        node.kill()
        try:
            await lives_on(load)
            await stop(load)
            found = await differences(load)
        finally:
            await stop(load)  # as a restart keeps the event loop
            three_nodes.restart(node)

        assert load.failures == []
        assert found == {}
        assert await differences(load) == {}
        assert Counter(task.state for task in load.stored.values())[TaskState.DONE] > 100
