"""The settings as one may show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasques.settings.model import ServerSettings


def masked(settings: ServerSettings) -> dict[str, Any]:
    """The settings in the form of the file, durations and sizes as text, secrets as `********`.

    Written as YAML it can be loaded again; only the secrets are lost.
    """
    return {"tasques": {"server": settings.model_dump(mode="json")}}
