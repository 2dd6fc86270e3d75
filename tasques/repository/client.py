"""The Elasticsearch client: for set-up and chores, and owner of the connections."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch

from tasques.repository.setup_errors import SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How to reach Elasticsearch.

    Attributes:
        addresses: URLs with ports.
        user: name and password, or None.
        api_key: the encoded key, or None; goes before the user.
        ca_file: certificates to trust instead of the system's, or None.
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
        arguments["verify_certs"] = options.verify_certificates
        arguments["ssl_show_warn"] = False
        if options.ca_file is not None:
            _check_certificates(options.ca_file)
            arguments["ca_certs"] = str(options.ca_file)
    return AsyncElasticsearch(list(options.addresses), **arguments)


def _check_certificates(file: Path) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise SetupError(
            f"There is no certificate in {file} (it must be in PEM format)."
        ) from error
    except OSError as error:
        raise SetupError(f"Can not read the certificates in {file}: {error.strerror}.") from error
