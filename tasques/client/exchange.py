"""Requests and their repetition, without a network: what both clients have in common.

A `Call` is a generator. It yields what it wants done (a `Request` to be sent, or a `Pause`) and is
given the `Answer`, or thrown a `NoAnswerError`; what it returns is the outcome of the call. The
clients only differ in how they do what is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, TypeVar

from tasques.client.errors import (
    ApiError,
    NoAnswerError,
    TasquesError,
    UnavailableError,
    UnexpectedAnswerError,
    api_error,
)

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_SHORTEST_TRY: Final = 0.1
_MOST_DOUBLINGS: Final = 10
_SHOWN: Final = 200  # characters of an answer that is no JSON


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `timeout` is how many seconds the server may be silent.

    `traceparent` is the place in a trace that it belongs to, unless the program is in one itself.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A wish to be called again after that many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes
    retry_after: str | None = None


Call = Generator[Request | Pause, Answer | None, T]


@dataclass(slots=True)
class Doubt:
    """Whether an earlier try of a request may have been carried out, unknown to us."""

    exists: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends requests again, with back-off and full jitter, until they are answered.

    Attributes:
        timeout: how many seconds a call may take, with all its tries.
        try_timeout: how many seconds the server may be silent at one try.
    """

    timeout: float
    try_timeout: float
    monotonic: Callable[[], float]
    random: Random

    def ask(
        self, request: Request, doubt: Doubt | None = None, *, blocks_for: float = 0.0
    ) -> Call[Any]:
        """Send a request until it is answered; returns what the JSON of the answer says.

        Args:
            request: it must do no harm when it is carried out twice.
            doubt: told when a try that failed may have been carried out.
            blocks_for: how many seconds the server may take on purpose.

        Raises:
            ApiError: it was refused, or is not possible now, after repetitions.
            NoAnswerError, UnexpectedAnswerError: after repetitions.
        """
        doubt = Doubt() if doubt is None else doubt
        until = self.monotonic() + self.timeout + blocks_for
        tries = 0
        while True:
            try:
                left = max(_SHORTEST_TRY, until - self.monotonic())
                timeout = min(self.try_timeout + blocks_for, left)
                return (yield from once(replace(request, timeout=timeout)))
            except (NoAnswerError, UnavailableError) as error:
                pause = self.pause_after(tries, error)
                if self.monotonic() + pause >= until:
                    raise
                doubt.exists |= is_doubtful(error)
            except ApiError as error:
                doubt.exists |= is_doubtful(error)
                raise
            tries += 1
            yield Pause(pause)

    def pause_after(self, tries: int, error: TasquesError | None = None) -> float:
        """How many seconds to wait before the next try: at least what the server wishes."""
        wished = error.retry_after if isinstance(error, ApiError) else 0.0
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(tries, _MOST_DOUBLINGS)))
        return wished + self.random.uniform(0.0, longest)


def once(request: Request) -> Call[Any]:
    """Send a request; returns what the JSON of the answer says.

    Raises:
        ApiError: it was refused, or is not possible now.
        NoAnswerError, UnexpectedAnswerError: as the names say.
    """
    answer = yield request
    if answer is None:
        raise TypeError("a request must be answered")
    return read_answer(answer)


def resume(call: Call[T], outcome: Answer | NoAnswerError | None) -> Request | Pause:
    """Begin a call, or go on with it, after what it wanted was done; returns what it wants next.

    Raises:
        StopIteration: it is over; the exception has what it returns.
    """
    return call.throw(outcome) if isinstance(outcome, NoAnswerError) else call.send(outcome)


def is_doubtful(error: TasquesError) -> bool:
    """Whether the request that failed so may have been carried out all the same."""
    if isinstance(error, NoAnswerError):
        return error.may_have_arrived
    return isinstance(error, ApiError) and error.may_have_worked


def read_answer(answer: Answer) -> Any:
    """What the JSON of a good answer says.

    Raises:
        ApiError: it is no good answer.
        UnexpectedAnswerError: it is no JSON.
    """
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
        if answer.status < 400:
            shown = answer.body[:_SHOWN].decode(errors="replace")
            raise UnexpectedAnswerError(f"{answer.status}, and no JSON: {shown}") from None
    if answer.status < 300:
        return said
    raise refusal(answer.status, said, _seconds(answer.retry_after))


def refusal(status: int, said: Any, retry_after: float = 0.0) -> ApiError:
    """The error that a refusal stands for, whoever has sent it."""
    members = said if isinstance(said, dict) else {}
    message = members.get("message")
    code = members.get("code")
    return api_error(
        status,
        message=message if isinstance(message, str) else f"The answer has status {status}.",
        code=code if isinstance(code, str) else "",
        retry_after=retry_after,
    )


def _seconds(retry_after: str | None) -> float:
    """What the header says; dates, which only proxies send, are not followed."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0
