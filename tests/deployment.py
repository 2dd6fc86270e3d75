"""Servers behind a load balancer, which are replaced one by one, and clients that use them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from keep_alive import KeepAlive, LostError, RefusedError
from processes import Command, Settings, running
from relay import Balancer

QUEUE = "mail"
Sample = tuple[float, float]
"""When a request was answered, and how many seconds it had taken."""


class Deployment:
    """Servers, replaced as Kubernetes does: another one is ready before one is told to end."""

    def __init__(
        self, stack: ExitStack, folder: Path, settings: Settings, balancer: Balancer
    ) -> None:
        self._stack, self._folder, self._settings = stack, folder, settings
        self._balancer = balancer
        self.servers: list[Command] = []

    async def start_one(self) -> None:
        """Add a server."""
        server = self._stack.enter_context(
            running("server", folder=self._folder, settings=self._settings)
        )
        self._balancer.add(await asyncio.to_thread(server.wait_until_ready))
        self.servers.append(server)

    async def replace_one(self) -> None:
        """Add one, and end the oldest."""
        await self.start_one()
        oldest = self.servers.pop(0)
        address = oldest.address()
        await asyncio.to_thread(oldest.stop)
        self._balancer.remove(address)
        oldest.assert_calm()


class Load:
    """Clients that keep their connections, and repeat what was not answered, or refused.

    Attributes:
        created: the ids of tasks whose creation was answered, with the time.
        handed_out: id and number of the attempt of each task that a worker got.
        done: the ids of tasks whose end was answered, with the time.
        creates: how long creating took.
        claims: how long it took from the beginning of a creation until a worker had the task.
        broken: how many requests had no answer.
        refused: how many were answered 5xx, by code.
    """

    def __init__(self, address: str, *, pause: float) -> None:
        """Have each producer wait so many seconds between two tasks."""
        self._address = address
        self._pause = pause
        self._is_over = False
        self._begun: dict[str, float] = {}
        self.created: dict[str, float] = {}
        self.handed_out: list[tuple[str, int]] = []
        self.done: dict[str, float] = {}
        self.creates: list[Sample] = []
        self.claims: list[Sample] = []
        self.broken = 0
        self.refused: Counter[str] = Counter()

    def start(self, group: asyncio.TaskGroup, *, producers: int, workers: int) -> None:
        """Begin; the group ends when all is done after `end`."""
        for number in range(producers):
            group.create_task(self._produce(f"producer-{number}"))
        for number in range(workers):
            group.create_task(self._work(f"worker-{number}"))

    def end(self) -> None:
        """Let no more tasks be made."""
        self._is_over = True

    async def _produce(self, name: str) -> None:
        connection = KeepAlive()
        count = 0
        while not self._is_over:
            task_id = f"{name}-{count}"
            task = {"queue": QUEUE, "kind": "k", "id": task_id}
            self._begun[task_id] = time.monotonic()
            status, _, tries = await self._call(connection, "POST", "/tasques", task)
            assert status == 201 or (status == 409 and tries > 1), status
            self.created[task_id] = now = time.monotonic()
            self.creates.append((now, now - self._begun[task_id]))
            count += 1
            await asyncio.sleep(self._pause)
        connection.abort()

    async def _work(self, name: str) -> None:
        connection = KeepAlive()
        claim = {"queues": [QUEUE], "block_for": "2s"}
        while not (self._is_over and self.done.keys() >= self.created.keys()):
            status, tasks, _ = await self._call(connection, "POST", "/tasques/claims", claim, name)
            assert status == 200, status
            for task in tasks:
                self._note_claim(task)
                path = f"/tasques/done/{QUEUE}/{task['id']}"
                status, _, _ = await self._call(connection, "PUT", path, {}, name)
                assert status == 200, status
                self.done[task["id"]] = time.monotonic()
        connection.abort()

    def _note_claim(self, task: dict[str, Any]) -> None:
        self.handed_out.append((task["id"], task["attempted"]))
        now = time.monotonic()
        self.claims.append((now, now - self._begun[task["id"]]))

    async def _call(self, connection: KeepAlive, *request: Any) -> tuple[int, Any, int]:
        """Status, answer, and how often it was sent."""
        tries = 0
        while True:
            tries += 1
            try:
                status, answer = await connection.call(self._address, *request)
            except (LostError, RefusedError):
                self.broken += 1
            else:
                if status < 500:
                    return status, answer, tries
                self.refused[answer["code"]] += 1
