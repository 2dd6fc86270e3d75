"""The Elastic APM agent. Import this module only if it is wanted: the agent is not small."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from elasticapm import Client
from elasticapm.conf.constants import ERROR
from elasticapm.traces import execution_context

from tasques.observability.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGENTS_OWN: Final = ("elasticapm", "urllib3")
_REPORTED: Final = "_tasques_reported"
_PROCESSORS: Final = (f"{__name__}.redact_error",)


class Agent:
    """Sends what happens here to an APM server, from a thread of its own.

    Errors are those that are logged with a traceback. Lines of the log get the ids of the
    transaction that they belong to.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Start it; `options` are the agent's, and give way to its `ELASTIC_APM_*` variables."""
        self._client: Any = Client(
            **{
                "service_name": "tasques",
                "collect_local_variables": "off",  # they are tasks and passwords
                "cloud_provider": "none",  # asks addresses that nobody told us
                "disable_log_record_factory": True,  # `_TransactionIds` does it
                "processors": _PROCESSORS,
            }
            | dict(options)
        )
        self._reporter = _ErrorReporter(self)
        self._ids = _TransactionIds()
        self._root = logging.getLogger()
        self._marked = tuple(self._root.handlers)
        for handler in self._marked:
            handler.addFilter(self._ids)
        self._root.addHandler(self._reporter)

    def begin(self, kind: str, parent: Any = None) -> Any:
        """Begin a transaction, and make it the current one; None if none is recorded."""
        return self._client.begin_transaction(kind, trace_parent=parent)

    def end(self, name: str, result: str, outcome: str) -> None:
        """End the current transaction: outcome is `success`, `failure` or `unknown`."""
        transaction = execution_context.get_transaction()
        if transaction is not None:
            transaction.outcome = outcome
            self._client.end_transaction(name, result)

    def discard(self) -> None:
        """Forget the current transaction."""
        execution_context.get_transaction(clear=True)

    def report(self, error: BaseException) -> None:
        """Send an error as part of the current transaction, unless that was done before."""
        if not hasattr(error, _REPORTED):
            setattr(error, _REPORTED, True)
            self._client.capture_exception((type(error), error, error.__traceback__))

    def close(self) -> None:
        """Send what is left; blocks for some seconds if the APM server does not answer."""
        self._root.removeHandler(self._reporter)
        for handler in self._marked:
            handler.removeFilter(self._ids)
        self._client.close()


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
        transaction = execution_context.get_transaction()
        # What a request started, and outlives it, has inherited its context.
        if transaction is not None and transaction.ended_time is None:
            vars(record).setdefault("trace.id", transaction.trace_parent.trace_id)
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
