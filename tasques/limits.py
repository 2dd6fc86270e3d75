"""The bounds of the parts, from settings."""

from __future__ import annotations

from tasques.api.requests import RequestDefaults
from tasques.repository.bulk import WriteLimits
from tasques.services.broker_limits import BrokerLimits
from tasques.settings import ServerSettings


def write_limits(settings: ServerSettings) -> WriteLimits:
    """Of the bulk writer."""
    write = settings.elasticsearch.write
    return WriteLimits(
        max_in_flight=write.max_in_flight,
        max_operations=write.max_batch_operations,
        max_bytes=write.max_batch_bytes,
        deadline=write.deadline.total_seconds(),
        request_timeout=settings.elasticsearch.request_timeout.total_seconds(),
        max_pending_operations=write.max_pending_operations,
        max_pending_bytes=write.max_pending_bytes,
    )


def broker_limits(settings: ServerSettings) -> BrokerLimits:
    """Of the claims that wait, and of the searches for them."""
    claims = settings.tasks.claims
    return BrokerLimits(
        max_parked=claims.max_parked,
        max_search=claims.search_size,
        refresh_min_interval=claims.refresh_min_interval.total_seconds(),
        poll_interval=claims.poll_interval.total_seconds(),
    )


def request_defaults(settings: ServerSettings) -> RequestDefaults:
    """What a request gets that does not say otherwise, and what it may ask for."""
    defaults = settings.tasks.defaults
    return RequestDefaults(
        retry_times=defaults.retry_times,
        processing_timeout=defaults.worker_processing_timeout,
        claim_amount=defaults.claim_amount,
        block_for=defaults.block_for,
        max_block_for=settings.tasks.claims.max_block_for,
        max_body_size=settings.max_body_size,
    )
