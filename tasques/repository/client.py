"""The Elasticsearch client: for set-up and chores, and owner of the connections."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch

from tasques.repository.authorities import FollowedAuthorities


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How to reach Elasticsearch.

    Attributes:
        addresses: URLs with ports.
        user: name and password, or None.
        api_key: the encoded key, or None; goes before the user.
        ca_file: authorities to trust instead of the system's, or None. It may be replaced.
        verify_certificates: whether to check who answers.
        request_timeout: seconds for one request.
        connections: for each node at most.
    """

    addresses: Sequence[str]
    user: tuple[str, str] | None = None
    api_key: str | None = None
    ca_file: Path | None = None
    verify_certificates: bool = True
    request_timeout: float = 5.0
    connections: int = 32

    @property
    def authorization(self) -> str | None:
        """The header that says who we are."""
        if self.api_key is not None:
            return f"ApiKey {self.api_key}"
        if self.user is not None:
            token = base64.b64encode(":".join(self.user).encode()).decode()
            return f"Basic {token}"
        return None


def build_client(options: ClientOptions) -> AsyncElasticsearch:
    """Make a client that tries once: whoever uses it decides what may be repeated.

    Raises:
        SetupError: the certificates to trust can not be read.
    """
    arguments: dict[str, Any] = {
        "request_timeout": options.request_timeout,
        "connections_per_node": options.connections,
        "max_retries": 0,
        "retry_on_timeout": False,
    }
    if (authorization := options.authorization) is not None:
        arguments["headers"] = {"authorization": authorization}
    if any(address.startswith("https:") for address in options.addresses):
        if options.verify_certificates and options.ca_file is not None:
            arguments["ssl_context"] = FollowedAuthorities(options.ca_file)
        else:
            arguments["verify_certs"] = options.verify_certificates
            arguments["ssl_show_warn"] = False
    return AsyncElasticsearch(list(options.addresses), **arguments)
