"""Requests to Elasticsearch on the hot path: bytes out, bytes in, nothing in between.

The client's own layers cost a multiple of the request itself, and its retries would hide that
an answer was lost. So this uses the client's nodes (their TLS, their connection pools) directly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import aiohttp
import elastic_transport
from elastic_transport import BaseAsyncNode
from elasticsearch import AsyncElasticsearch

from tasques.repository.nodes import Node, Nodes

log = logging.getLogger(__name__)

JSON: Final = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON: Final = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"

# A node that failed last time gets this long, if others are alive.
_TRIAL_TIMEOUT: Final = 1.0


class NoAnswerError(Exception):
    """The request was sent, or perhaps not, and there is no answer: its outcome is unknown."""


class NotSentError(NoAnswerError):
    """No node could be connected to: the request certainly was not executed."""


class Answer(NamedTuple):
    """An HTTP status and an undecoded body."""

    status: int
    body: bytes


class Connection:
    """Sends requests to whichever node is alive; each is sent once."""

    def __init__(
        self,
        client: AsyncElasticsearch,
        *,
        authorization: str | None,
        slow_after: float = 0.0,
    ) -> None:
        """Share the nodes of `client`, which stays the owner and closes them.

        Requests that take at least `slow_after` seconds are logged; 0 is none.
        """
        self._slow_after = slow_after or float("inf")
        self._nodes = Nodes(cast("list[BaseAsyncNode]", client.transport.node_pool.all()))
        self._headers: dict[str, dict[str, str]] = {
            content_type: _headers(content_type, authorization) for content_type in (JSON, NDJSON)
        }

    @property
    def is_reachable(self) -> bool:
        """Whether any node answered when it was last asked."""
        return self._nodes.is_any_alive

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 - the node enforces it and reports it as its own error
        content_type: str = JSON,
    ) -> Answer:
        """Send one request.

        Args:
            method: of HTTP.
            target: path and query, already escaped.
            body: as `content_type` says.
            timeout: seconds until it counts as unanswered.
            content_type: `JSON` or `NDJSON`.

        Raises:
            NotSentError: no node can be connected to.
            NoAnswerError: there is none, and nobody knows whether the request was executed.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answer: Answer | None = None
        try:
            answer = await self._ask_nodes((method, target, body), content_type, begun + timeout)
        finally:
            if (seconds := loop.time() - begun) >= self._slow_after:
                _log_slow(method, target, seconds, answer)
        return answer

    async def _ask_nodes(
        self, request: tuple[str, str, bytes | None], content_type: str, give_up_at: float
    ) -> Answer:
        loop = asyncio.get_running_loop()
        tried: list[Node] = []
        while True:
            node = self._nodes.choose(loop.time(), tried=tried)
            time_left = give_up_at - loop.time()
            if node.failures and self._nodes.is_any_alive:
                time_left = min(time_left, _TRIAL_TIMEOUT)
            try:
                return await self._ask(node, request, content_type, time_left)
            except NotSentError:
                tried.append(node)
                if len(tried) == len(self._nodes) or loop.time() >= give_up_at:
                    raise

    async def _ask(
        self,
        node: Node,
        request: tuple[str, str, bytes | None],
        content_type: str,
        time_left: float,
    ) -> Answer:
        headers = cast("Mapping[str, str]", self._headers[content_type])
        node.under_way += 1
        try:
            response = await node.client.perform_request(
                *request,
                headers=elastic_transport.HttpHeaders(headers),
                request_timeout=time_left,
            )
        except elastic_transport.TransportError as error:
            node.failed(asyncio.get_running_loop().time(), str(error))
            kind = NotSentError if _was_not_sent(error) else NoAnswerError
            raise kind(str(error)) from error
        finally:
            node.under_way -= 1
        node.succeeded()
        return Answer(response.meta.status, response.body)


def endpoint(target: str) -> str:
    """What a request is to, without names of indices and ids: these there are too many of."""
    for part in target.partition("?")[0].split("/"):
        if part.startswith("_"):  # no index may be called so
            return part
    return "index"


def _log_slow(method: str, target: str, seconds: float, answer: Answer | None) -> None:
    log.warning(
        "slow request to Elasticsearch",
        extra={
            "http.request.method": method,
            "endpoint": endpoint(target),
            "http.response.status_code": None if answer is None else answer.status,
            "duration_ms": round(seconds * 1000, 3),
        },
    )


def _was_not_sent(error: elastic_transport.TransportError) -> bool:
    return any(isinstance(cause, aiohttp.ClientConnectorError) for cause in error.errors)


def _headers(content_type: str, authorization: str | None) -> dict[str, str]:
    headers = {"accept": JSON, "content-type": content_type}
    if authorization is not None:
        headers["authorization"] = authorization
    return headers
