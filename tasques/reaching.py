"""How to reach Elasticsearch, from settings."""

from __future__ import annotations

from tasques.repository.client import ClientOptions
from tasques.settings import ServerSettings


def client_options(settings: ServerSettings) -> ClientOptions:
    """For the client."""
    store = settings.elasticsearch
    return ClientOptions(
        addresses=store.addresses,
        user=(store.user.name, store.user.password.get_secret_value()) if store.user else None,
        api_key=store.api_key.get_secret_value() if store.api_key else None,
        ca_file=store.ca_file,
        verify_certificates=store.verify_certificates,
        request_timeout=store.request_timeout.total_seconds(),
    )
