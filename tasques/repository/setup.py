"""Preparing Elasticsearch: policies, index templates, indices, aliases, mappings and settings.

A set-up that was killed anywhere, was run by an older version, or runs twice at once ends in the
same state. What a newer version made is left alone. Nothing is ever deleted.

Where documents would disappear from sight (the alias is on a foreign index that holds some) or
where Elasticsearch can not do what is wanted, it stops and says what an operator can do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from elasticsearch import AsyncElasticsearch

from tasques.repository.aliases import alias_problem, choose
from tasques.repository.features import probe
from tasques.repository.indices import (
    IndexNames,
    IndexSettings,
    IndexSpec,
    StoredIndex,
    find,
    specs,
)
from tasques.repository.lifecycle import LifecyclePolicy
from tasques.repository.setup_errors import SetupError
from tasques.repository.setup_report import SetupReport
from tasques.repository.setup_steps import SetupSteps
from tasques.repository.templates import find_template, template_version

log = logging.getLogger(__name__)

_TIMEOUT: Final = 60.0  # seconds; a busy master takes up to 30 before it gives up by itself


async def setup(
    client: AsyncElasticsearch,
    *,
    names: IndexNames,
    shards: int,
    replicas: int,
    refresh_interval: timedelta,
    archive_policy: LifecyclePolicy | None = None,
) -> SetupReport:
    """Make, repair or upgrade everything that Tasques needs in Elasticsearch.

    Args:
        client: may retry by itself; every request here can be repeated.
        names: of what is made.
        shards: primary shards of a new index.
        replicas: copies of each shard; an existing index is changed to it.
        refresh_interval: how old searches may be; an existing index is changed to it.
        archive_policy: what Elasticsearch does with the archive's indices as they age, where it
            can; None leaves them to the server.

    Raises:
        SetupError: Elasticsearch refuses something, is too old, or an operator has to decide.
        StoreUnavailableError: Elasticsearch does not answer.
    """
    patient = client.options(request_timeout=_TIMEOUT)
    features = await probe(patient)
    steps = SetupSteps(
        patient,
        IndexSettings(shards=shards, replicas=replicas, refresh_interval=refresh_interval),
    )
    if archive_policy is not None and not features.has_lifecycle:
        log.info("Elasticsearch has no lifecycle management: the server rolls the archive over")
        archive_policy = None
    if archive_policy is not None:
        await steps.install(archive_policy)
    for spec in specs(names, archive_policy=archive_policy.name if archive_policy else None):
        await steps.prepare(spec)
    return steps.report


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, one sentence each.

    Attributes:
        problems: what a server would miss.
        warnings: what keeps it from its work although all is there.
    """

    problems: list[str]
    warnings: list[str]


async def check(client: AsyncElasticsearch, names: IndexNames) -> Findings:
    """Look for what a server needs; without problems it can start.

    Raises:
        SetupError: Elasticsearch refuses to tell.
        StoreUnavailableError: Elasticsearch does not answer.
    """
    problems: list[str] = []
    warnings: list[str] = []
    for spec in specs(names):
        template = await find_template(client, spec)
        if template is None:
            problems.append(f"The index template {spec.alias} is missing.")
        elif template_version(template) < spec.version:
            problems.append(f"The index template {spec.alias} is of an older version.")
        found = await find(client, spec, with_fields=False)
        problems += _index_problems(spec, found)
        warnings += _blocks(spec, found)
    return Findings(problems, warnings)


def _blocks(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> list[str]:
    """Of the archive only the index that is written: operators may want to protect the others."""
    try:
        current = choose(spec, found)
    except SetupError:
        return []
    blocks = [] if current is None else current.blocks
    return [f"The index {spec.alias} can not be written: index.{block} is set." for block in blocks]


def _index_problems(spec: IndexSpec, found: Mapping[str, StoredIndex]) -> list[str]:
    try:
        current = choose(spec, found)
    except SetupError as error:
        return [str(error)]
    if current is None:
        return [f"The index {spec.index}, for the alias {spec.alias}, is missing."]
    problems = []
    if problem := alias_problem(spec, found, current):
        problems.append(problem)
    if current.is_closed:
        problems.append(f"The index {current.name} is closed.")
    if current.version < spec.version:
        problems.append(f"The mapping of {current.name} is of an older version.")
    return problems
