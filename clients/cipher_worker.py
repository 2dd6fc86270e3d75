"""One real task of each kind for a worker of the ciphers example in another language."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

from elasticsearch import Elasticsearch

from examples.ciphers.ciphers import CIPHERS, QUEUE
from examples.ciphers.messages import INDEX, Messages
from tasques.client import Client, NewTask, TasquesError

PLAIN = "Hello, Zoë <zoe@example.org>"
PATIENCE = timedelta(seconds=30)


class WrongResultError(Exception):
    """What a worker made is not what it should be."""


def try_worker(command: tuple[str, ...], folder: Path, tasques: str, elasticsearch: str) -> None:
    """Let a worker cipher a message.

    Raises:
        WrongResultError: it did not, or wrongly, or did not end in order.
    """
    where = ("-tasques", tasques, "-elasticsearch", elasticsearch)
    with Elasticsearch(elasticsearch) as store, Client(tasques) as client:
        messages = Messages(store)
        messages.prepare()
        args = {"message_id": messages.add(PLAIN)}
        tasks = client.enqueue_many([NewTask(QUEUE, kind, args) for kind in CIPHERS])
        process = subprocess.Popen([*command, *where], cwd=folder)
        try:
            for task in tasks:
                if (state := client.wait(task, PATIENCE).state) != "done":
                    raise WrongResultError(f"the task of kind {task.kind} is {state}")
        except TasquesError as error:
            raise WrongResultError(f"the worker did not do its tasks: {error}") from error
        finally:
            code = stop(process)
        written = store.get(index=INDEX, id=args["message_id"])["_source"]
    expected = {cipher.field: cipher.apply(PLAIN) for cipher in CIPHERS.values()}
    if not written.items() >= expected.items() or code != 0:
        raise WrongResultError(f"{written} instead of {expected}; exit code {code}")


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a worker in order, else by force; returns its exit code."""
    process.terminate()
    try:
        return process.wait(PATIENCE.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
