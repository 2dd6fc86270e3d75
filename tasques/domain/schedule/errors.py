"""What is raised for an expression or a time zone that is no good."""

from __future__ import annotations

from tasques.domain.errors import InvalidRequestError


class InvalidScheduleError(InvalidRequestError):
    """The text is no schedule expression, or the time zone does not exist."""

    code = "invalid_schedule"


def shown(text: str) -> str:
    """The text as messages quote it: escaped, and never long."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
