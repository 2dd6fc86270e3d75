"""Marks that are never made twice, by any process."""

from __future__ import annotations

import secrets
from itertools import count
from typing import Final

MARK_LENGTH: Final = 22
_PREFIX_BYTES: Final = 9  # 12 characters, 72 random bits


class UniqueMarks:
    """Makes marks of 22 URL-safe characters: a random start and a count.

    Far cheaper than drawing random numbers for each. To be made once per process, after forking.
    They can be guessed from one another, so they must not be used as secrets.
    """

    def __init__(self) -> None:
        self._start = secrets.token_urlsafe(_PREFIX_BYTES)
        self._numbers = count()

    def __call__(self) -> str:
        """Return a mark that was never made before."""
        return f"{self._start}{next(self._numbers):010x}"
