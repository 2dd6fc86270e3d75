"""The Elastic APM agent. Import this module only if it is wanted: the agent is not small."""

from __future__ import annotations

import atexit
import logging
import re
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from elasticapm import Client
from elasticapm.conf.constants import ERROR

from tasques.clock import SystemClock
from tasques.observability.elastic_agent import BLOCK, BlockTransport, ElasticAgent
from tasques.observability.outbox import Outbox
from tasques.observability.redaction import redact
from tasques.observability.tracer import Sampling, Tracer
from tasques.observability.tracing import current_transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGENTS_OWN: Final = ("elasticapm", "urllib3")
_REPORTED: Final = "_tasques_reported"
_PROCESSORS: Final = (f"{__name__}.redact_error",)
_LAST_SECONDS: Final = 1.5  # less than a supervisor waits beyond the time for requests


class Agent:
    """Sends what happens here to an APM server, from a thread of its own.

    Errors are those that are logged with a traceback. Lines of the log get the ids of the
    transaction that they belong to.

    Attributes:
        tracer: makes transactions and spans.
    """

    def __init__(self, options: Mapping[str, Any], *, max_per_second: int = 0) -> None:
        """Start it.

        Args:
            options: are the agent's, and give way to its `ELASTIC_APM_*` variables.
            max_per_second: about so many of the traces that requests begin are sent; 0 means all.
        """
        self._client: Any = ElasticAgent(
            **{
                "service_name": "tasques",
                "collect_local_variables": "off",  # they are tasks and passwords
                "cloud_provider": "none",  # asks addresses that nobody told us
                "disable_log_record_factory": True,  # `_TransactionIds` does it
                "breakdown_metrics": False,  # are made of the agent's own transactions
                "processors": _PROCESSORS,
                "transport_class": f"{BlockTransport.__module__}.{BlockTransport.__name__}",
            }
            | dict(options)
        )
        self._outbox = Outbox(lambda block: self._client.queue(BLOCK, block))
        self.tracer = Tracer(
            self._outbox.add,
            sampling=self._sampling,
            max_per_second=max_per_second,
            clock=SystemClock(),
            random=Random(),  # noqa: S311 - ids, no secrets
        )
        self._reporter = _ErrorReporter(self)
        self._ids = _TransactionIds()
        self._root = logging.getLogger()
        self._marked = tuple(self._root.handlers)
        for handler in self._marked:
            handler.addFilter(self._ids)
        self._root.addHandler(self._reporter)

    def report(self, error: BaseException) -> None:
        """Send an error as part of the current transaction, unless that was done before."""
        if not hasattr(error, _REPORTED):
            setattr(error, _REPORTED, True)
            self._client.capture_exception((type(error), error, error.__traceback__))

    def close(self) -> None:
        """Send what is left; if the APM server does not take it, blocks for a few seconds."""
        self._root.removeHandler(self._reporter)
        for handler in self._marked:
            handler.removeFilter(self._ids)
        self._outbox.flush()
        atexit.unregister(self._client.close)  # it would wait for much longer
        closing = Thread(target=self._client.close, name="apm close", daemon=True)
        closing.start()
        closing.join(_LAST_SECONDS)

    def _sampling(self) -> Sampling:
        config = self._client.config
        return Sampling(
            is_recording=config.is_recording,
            rate=config.transaction_sample_rate,
            continues=config.trace_continuation_strategy == "continue",
            ignored=[re.compile(each) for each in config.transactions_ignore_patterns or ()],
            max_spans=config.transaction_max_spans,
        )


class _ErrorReporter(logging.Handler):
    def __init__(self, agent: Agent) -> None:
        super().__init__(logging.WARNING)
        self._agent = agent

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_AGENTS_OWN) or not record.exc_info:
            return
        if (error := record.exc_info[1]) is not None:
            self._agent.report(error)


class _TransactionIds(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        transaction = current_transaction()
        if transaction is not None:
            vars(record).setdefault("trace.id", transaction.trace_id)
            vars(record)["transaction.id"] = transaction.id
        return True


def redact_error(_: Client, event: dict[str, Any]) -> dict[str, Any]:
    """Take secrets out of the messages of an error and its causes, before it is sent."""
    waiting = [event["exception"]] if "exception" in event else []
    while waiting:
        error = waiting.pop()
        if isinstance(error.get("message"), str):
            error["message"] = redact(error["message"])
        waiting += error.get("cause") or ()
    return event


redact_error.event_types = {ERROR}  # type: ignore[attr-defined]  # where the agent looks
