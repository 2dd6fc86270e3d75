"""What tests of the archive in Elasticsearch share."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta

from factories import START, a_claimed_task
from fakes import FakeClock

from tasques.background.archiver import Archiver
from tasques.domain.errors import TaskNotFoundError
from tasques.repository.archive import ElasticsearchTaskArchive
from tasques.repository.connection import Connection
from tasques.repository.documents import archive_id
from tasques.repository.indices import IndexNames
from tasques.repository.lifecycle import RolloverConditions

SECOND = timedelta(seconds=1)
NEVER = RolloverConditions(max_age="100d", max_primary_shard_size="50gb")


class KilledError(Exception):
    """Stands for the end of the process."""


class MortalConnection(Connection):
    """Ends everything after some requests: they were executed, their answer is lost."""

    requests_left = -1

    async def request(self, *args, **options):
        if self.requests_left == 0:
            raise KilledError
        answer = await super().request(*args, **options)
        self.requests_left -= 1
        if self.requests_left == 0:
            raise KilledError
        return answer


class Bench:
    """Tasks, their archive, and Elasticsearch behind them."""

    def __init__(self, client, tasks, prefix, timeout=60.0):
        self.client = client
        self.tasks = tasks
        self.names = IndexNames(prefix)
        self.connection = MortalConnection(client, authorization=None)
        self.timeout = timeout
        self.is_leader = True

    def archive(self, conditions=NEVER, max_bytes=1024 * 1024):
        return ElasticsearchTaskArchive(
            tasks_alias=self.names.tasks_alias,
            archive_alias=self.names.archive_alias,
            connection=self.connection,
            conditions=conditions,
            max_bytes=max_bytes,
            request_timeout=self.timeout,
        )

    def archiver(self, archive=None):
        return Archiver(
            archive=archive or self.archive(),
            clock=FakeClock(),
            older_than=timedelta(0),
            is_leader=lambda: self.is_leader,
            interval=60,
        )

    async def lay(self, count, queue="mail", **changes):
        """Finished tasks, visible to searches."""
        new = [
            a_claimed_task(id=f"task-{number}", queue=queue, **changes).complete(
                worker_id="worker-1", at=START - SECOND, success=None
            )
            for number in range(count)
        ]
        stored = await self.tasks.create_all(new)
        await self.tasks.refresh()
        return stored

    async def is_there(self, task):
        """Whether a reader finds a task in one place or the other."""
        for place in (self.tasks, self.archive()):
            with suppress(TaskNotFoundError):
                return await place.get(task.queue, task.id) is not None
        return False

    async def copies(self, queue="mail"):
        """How often each task is in the archive."""
        await self.client.indices.refresh(index=self.names.archive_alias)
        answer = await self.client.search(
            index=self.names.archive_alias, query={"term": {"queue": queue}}, size=10_000
        )
        return Counter(hit["_id"] for hit in answer["hits"]["hits"])

    async def left(self, queue="mail"):
        """How many tasks are not archived."""
        await self.tasks.refresh()
        query = {"term": {"queue": queue}}
        return (await self.client.count(index=self.names.tasks_alias, query=query))["count"]

    async def roll_over(self):
        answer = await self.client.indices.rollover(alias=self.names.archive_alias)
        return answer["new_index"]

    async def settings(self, index, **settings):
        await self.client.indices.put_settings(index=index, settings={"index": settings})


def archive_ids(tasks):
    return Counter(archive_id(task.queue, task.id, task.incarnation) for task in tasks)
