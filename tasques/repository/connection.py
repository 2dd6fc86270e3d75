"""Requests to Elasticsearch on the hot path: bytes out, bytes in, nothing in between.

The client's own layers cost a multiple of the request itself, and its retries would hide that
an answer was lost. So this uses the client's nodes (their TLS, their connection pools and the
pool that leaves out dead nodes) directly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import elastic_transport
from elastic_transport import BaseAsyncNode, NodePool
from elasticsearch import AsyncElasticsearch

log = logging.getLogger(__name__)

JSON: Final = "application/vnd.elasticsearch+json; compatible-with=8"
NDJSON: Final = "application/vnd.elasticsearch+x-ndjson; compatible-with=8"


class NoAnswerError(Exception):
    """The request was sent, or perhaps not, and there is no answer: its outcome is unknown."""


class Answer(NamedTuple):
    """An HTTP status and an undecoded body."""

    status: int
    body: bytes


class Connection:
    """Sends requests to whichever node is alive; one try each."""

    def __init__(self, client: AsyncElasticsearch, *, authorization: str | None) -> None:
        """Share the nodes of `client`, which stays the owner and closes them."""
        self._nodes: NodePool = client.transport.node_pool
        self._headers: dict[str, dict[str, str]] = {
            content_type: _headers(content_type, authorization) for content_type in (JSON, NDJSON)
        }
        self._is_reachable = True

    @property
    def is_reachable(self) -> bool:
        """Whether the latest request was answered."""
        return self._is_reachable

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
            NoAnswerError: there is none, and nobody knows whether the request was executed.
        """
        node = cast("BaseAsyncNode", self._nodes.get())
        headers = cast("Mapping[str, str]", self._headers[content_type])
        try:
            response = await node.perform_request(
                method,
                target,
                body,
                headers=elastic_transport.HttpHeaders(headers),
                request_timeout=timeout,
            )
        except elastic_transport.TransportError as error:
            self._nodes.mark_dead(node)
            self._note(error)
            raise NoAnswerError(str(error)) from error
        self._nodes.mark_live(node)
        self._note(None)
        return Answer(response.meta.status, response.body)

    def _note(self, error: Exception | None) -> None:
        """Log a change of state, not every failure: there may be thousands a second."""
        if error is None and not self._is_reachable:
            log.info("Elasticsearch answers again")
        elif error is not None and self._is_reachable:
            log.warning("Elasticsearch does not answer", extra={"reason": str(error)})
        self._is_reachable = error is None


def _headers(content_type: str, authorization: str | None) -> dict[str, str]:
    headers = {"accept": JSON, "content-type": content_type}
    if authorization is not None:
        headers["authorization"] = authorization
    return headers
