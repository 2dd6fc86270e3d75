"""The import of the dashboards into Kibana, as the settings say."""

from __future__ import annotations

from tasques.clock import SystemClock
from tasques.kibana.connection import KibanaOptions
from tasques.kibana.contents import saved_objects
from tasques.kibana.importing import import_objects
from tasques.settings import ServerSettings


async def import_dashboards(settings: ServerSettings) -> str | None:
    """Import them where the settings name a Kibana; may be repeated.

    Returns:
        Where they are, in words; None if no Kibana is named.

    Raises:
        KibanaError: it failed.
    """
    kibana = settings.kibana
    if kibana.address is None:
        return None
    objects = saved_objects(settings.elasticsearch.index_prefix)
    await import_objects(objects, _options(settings, kibana.address), clock=SystemClock())
    return f"{len(objects)} objects into the space {kibana.space} of Kibana at {kibana.address}"


def _options(settings: ServerSettings, address: str) -> KibanaOptions:
    kibana = settings.kibana
    return KibanaOptions(
        address=address,
        space=kibana.space,
        user=(kibana.user.name, kibana.user.password.get_secret_value()) if kibana.user else None,
        api_key=kibana.api_key.get_secret_value() if kibana.api_key else None,
        ca_file=kibana.ca_file,
        verify_certificates=kibana.verify_certificates,
        start_timeout=kibana.start_timeout.total_seconds(),
    )
