"""What this Elasticsearch is and can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from elasticsearch import AsyncElasticsearch

from tasques.repository.setup_errors import SetupError, explained

OLDEST_VERSION: Final = (8, 4, 0)
"""Older ones do not know the condition `min_docs`, without which an empty archive rolls over."""


@dataclass(frozen=True, slots=True)
class Features:
    """What was found out.

    Attributes:
        has_lifecycle: whether there is index lifecycle management (ILM).
        version: major, minor and patch of the node that answered.
    """

    has_lifecycle: bool
    version: tuple[int, int, int]


async def probe(client: AsyncElasticsearch) -> Features:
    """Ask once what the cluster is.

    Raises:
        SetupError: it is too old, or refuses to tell.
        StoreUnavailableError: it does not answer.
    """
    version = await _version(client)
    if version < OLDEST_VERSION:
        found, oldest = (".".join(map(str, each)) for each in (version, OLDEST_VERSION))
        raise SetupError(f"Elasticsearch is {found}; Tasques needs {oldest} or newer.")
    return Features(has_lifecycle=await _has_lifecycle(client), version=version)


async def _version(client: AsyncElasticsearch) -> tuple[int, int, int]:
    # Not `GET /`: not every distribution has it.
    with explained("read the version of Elasticsearch", privilege="cluster privilege monitor"):
        answer = await client.nodes.info(node_id="_local", filter_path="nodes.*.version")
    texts = [str(node.get("version")) for node in answer.body.get("nodes", {}).values()]
    form = re.match(r"(\d+)\.(\d+)\.(\d+)", texts[0]) if texts else None
    if form is None:
        raise SetupError(f"Elasticsearch does not tell its version: {texts}")
    return int(form[1]), int(form[2]), int(form[3])


async def _has_lifecycle(client: AsyncElasticsearch) -> bool:
    # By a setting that only ILM has. `GET /_ilm/status` takes a privilege of its own, and where
    # there is no such route its 405 makes the client take the node for dead.
    with explained("read the settings of the cluster", privilege="cluster privilege monitor"):
        answer = await client.cluster.get_settings(
            include_defaults=True, filter_path="*.indices.lifecycle.poll_interval"
        )
    return bool(answer.body)
