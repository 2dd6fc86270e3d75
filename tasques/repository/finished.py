"""Finished tasks as they are found, to be archived as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasques.domain.task import Version
from tasques.repository.documents import archive_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFinishedTask:
    """A hit of the search for finished tasks. Implements `tasques.domain.ports.FinishedTask`.

    Attributes:
        queue: its queue.
        task_id: its id.
        document_id: its `_id` where it was found.
        archive_id: its `_id` in the archive.
        finished_at: when it was finished.
        source: the document, moved as it is: what a newer Tasques put in goes along.
        version: of the document.
    """

    queue: str
    task_id: str
    document_id: str
    archive_id: str
    finished_at: datetime
    source: Mapping[str, Any]
    version: Version


def finished_tasks(hits: Iterable[Mapping[str, Any]]) -> list[FoundFinishedTask]:
    """The tasks of a page; what is none is logged and left out."""
    tasks = []
    for hit in hits:
        try:
            tasks.append(_finished_task(hit))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            log.error("broken document", extra={"document_id": hit["_id"], "reason": reason})  # noqa: TRY400 - the reason says it all
    return tasks


def _finished_task(hit: Mapping[str, Any]) -> FoundFinishedTask:
    source = hit["_source"]
    queue, _, task_id = hit["_id"].partition(":")
    return FoundFinishedTask(
        queue=queue,
        task_id=task_id,
        document_id=hit["_id"],
        archive_id=archive_id(queue, task_id, source["incarnation"]),
        finished_at=datetime.fromisoformat(source["last_claimed"]["result"]["at"]),
        source=source,
        version=Version(hit["_seq_no"], hit["_primary_term"]),
    )
