"""The agent of Elastic APM, taught to send events that it did not make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from elasticapm import Client
from elasticapm.conf.constants import ERROR
from elasticapm.transport.http import Transport
from elasticapm.utils import json_encoder

from tasques.observability.outbox import Block
from tasques.observability.tracing import current_transaction

BLOCK: Final = "tasques"
"""The type of event that stands for a whole block of them."""

_to_json: Final[Callable[[Any], str]] = json_encoder.dumps
_FAST: Final = 1  # of nine levels; five compresses a tenth better, and takes twice as long


def serialize(event: dict[str, Any]) -> str:
    """An event as JSON; a block as the lines that it is."""
    block = event.get(BLOCK)
    return block.take() if isinstance(block, Block) else _to_json(event)


class BlockTransport(Transport):
    """Sends blocks beside single events; `processors` see only the latter."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"json_serializer": serialize, "compress_level": _FAST})

    def _process_event(self, event_type: str, data: Any) -> Any:
        process: Callable[[str, Any], Any] = super()._process_event
        return data if event_type == BLOCK else process(event_type, data)


class ElasticAgent(Client):
    """The agent, whose errors belong to our transactions."""

    def queue(self, event_type: str, data: Any, flush: bool = False) -> None:  # noqa: FBT001, FBT002 - as the agent has it
        """Have an event sent."""
        transaction = current_transaction()
        if event_type == ERROR and transaction is not None:
            data["trace_id"] = transaction.trace_id
            data["transaction_id"] = data["parent_id"] = transaction.id
            data["transaction"] = {"sampled": transaction.is_sampled, "type": transaction.kind}
        super().queue(event_type, data, flush)
