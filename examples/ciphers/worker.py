"""A worker that ciphers messages: `tasques worker --app examples.ciphers.worker:worker`."""

from __future__ import annotations

import random
import time

from elasticsearch import Elasticsearch

from examples.ciphers import settings
from examples.ciphers.ciphers import CIPHERS, QUEUE, Cipher
from examples.ciphers.messages import Messages
from tasques.client import AsyncClient, JsonObject
from tasques.worker import Context, Worker

worker = Worker(AsyncClient(settings.tasques_url), queues=[QUEUE], concurrency=4)
messages = Messages(Elasticsearch(settings.elasticsearch_url))


class BadLuckError(Exception):
    """What happens to a share of the attempts, so that others can be seen to follow."""


def _register(kind: str, cipher: Cipher) -> None:
    @worker.handler(kind)
    def work(context: Context) -> JsonObject:
        message_id = str(context.args["message_id"])
        context.report({"starting": message_id})
        time.sleep(random.uniform(0, settings.pause))
        if random.random() < settings.failures:
            raise BadLuckError("an attempt was made to fail")
        ciphered = cipher.apply(messages.plain(message_id))
        messages.write(message_id, cipher.field, ciphered)
        return {"ciphered": ciphered}


for _kind, _cipher in CIPHERS.items():
    _register(_kind, _cipher)
