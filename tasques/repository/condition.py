"""How Elasticsearch is doing as we see it, with one line in the log for each change."""

from __future__ import annotations

import logging
from typing import Final

from tasques.domain.errors import TasquesError, UnavailableError
from tasques.domain.ports import Clock
from tasques.repository.verdict import final_error

log = logging.getLogger(__name__)

_CALM: Final = 5.0  # seconds without a rejection; in a storm some requests always get through


class Condition:
    """Whether requests of one kind are taken.

    Rejected is what may be sent again (429); refused is what is not taken until an operator acts.

    Attributes:
        rejections: answers in a row that rejected something.
    """

    def __init__(self, what: str, clock: Clock) -> None:
        """Watch requests that are called `what` in the log."""
        self.rejections = 0
        self._what = what
        self._clock = clock
        self._rejected_at: float | None = None
        self._refusing: set[str] = set()

    @property
    def is_good(self) -> bool:
        """Whether nothing was rejected or refused lately."""
        return self._rejected_at is None and not self._refusing

    def rejected(self, reason: str) -> None:
        """Something was rejected because there is too much to do."""
        if self._rejected_at is None:
            log.warning("Elasticsearch rejects %s", self._what, extra={"reason": reason})
        self._rejected_at = self._clock.monotonic()
        self.rejections += 1

    def not_rejected(self, *, proves_it: bool) -> None:
        """An answer rejected nothing; some kinds prove that all others would be taken as well."""
        if self._rejected_at is None:
            return
        is_calm = self._clock.monotonic() - self._rejected_at >= _CALM
        if proves_it or is_calm:
            self.rejections = 0
        if is_calm:
            self._rejected_at = None
            log.info("Elasticsearch takes %s again", self._what)

    def refused(self, index: str, status: int, error_type: str | None, reason: str) -> TasquesError:
        """Something was refused for good; return the error to raise.

        Args:
            index: the index or alias concerned; empty if all are.
            status: of the item, or of the request.
            error_type: what Elasticsearch calls it.
            reason: what it says.
        """
        error = final_error(status, error_type)
        lasts = isinstance(error, UnavailableError)
        if not lasts or index not in self._refusing:
            log.error(
                "Elasticsearch refuses %s",
                self._what,
                extra={
                    "index": index,
                    "status": status,
                    "error_type": error_type,
                    "reason": reason,
                },
            )
        if lasts:
            self._refusing.add(index)
        return error

    def took(self, index: str) -> None:
        """Something was executed in that index."""
        if not self._refusing:
            return
        # What was refused by the name of an alias is executed in its index, which is named after
        # it; so is nothing at all by every one.
        if ended := {name for name in self._refusing if index.startswith(name)}:
            self._refusing -= ended
            log.info("Elasticsearch takes %s again", self._what, extra={"index": index})
