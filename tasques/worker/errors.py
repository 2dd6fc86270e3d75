"""What handlers raise to say what shall become of their task."""

from __future__ import annotations

from tasques.client import JsonObject


class Unclaim(Exception):  # noqa: N818 - it is a wish, not an error
    """Give the task back as if it had not been claimed: not me, not now.

    The attempt does not count, and any worker may have the task at once, this one too after a
    second.
    """


class RetryLater(Exception):  # noqa: N818 - it is a wish, not an error
    """This attempt has come to nothing, as can happen: try again after the usual back-off.

    As any other exception it ends the attempt as failed, but what is stored is `data` instead of
    a traceback, and the log has no warning.
    """

    def __init__(self, data: JsonObject | None = None) -> None:
        super().__init__("to be tried again later")
        self.data = data


class CancelledByWorker(Exception):  # noqa: N818 - as `asyncio.CancelledError`, to be let through
    """Raised by `Context.raise_if_cancelled`: what the handler does is of no use any more."""
