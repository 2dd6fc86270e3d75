"""Types of the members of request bodies: what is taken, and how refusals are worded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from tasques.api.bodies import to_json_text
from tasques.domain.duration import parse_duration
from tasques.domain.errors import InvalidRequestError
from tasques.domain.instant import ZERO, parse_instant
from tasques.domain.names import (
    check_kind,
    check_queue,
    check_recurring_task_id,
    check_task_id,
    queue_problems,
)
from tasques.domain.schedule import Schedule, load_time_zone
from tasques.domain.task import JsonText

MAX_QUEUES: Final = 1024

REFUSED: Final = "refused"
"""The type of a validation error whose context has `problems`, each of which names its field."""

T = TypeVar("T")


def refused(*problems: str) -> PydanticCustomError:
    """What a validator raises; each problem names its field."""
    return PydanticCustomError(REFUSED, "refused", {"problems": problems})


def _named(check: Callable[[str, str], str]) -> AfterValidator:
    def validate(name: str, member: ValidationInfo) -> str:
        try:
            return check(name, str(member.field_name))
        except InvalidRequestError as error:
            raise refused(*error.problems) from error

    return AfterValidator(validate)


def _accepted_by(read: Callable[[str], object]) -> AfterValidator:
    def validate(text: str, member: ValidationInfo) -> str:
        try:
            read(text)
        except InvalidRequestError as error:
            problems = (f"{member.field_name}: {problem}" for problem in error.problems)
            raise refused(*problems) from error
        return text

    return AfterValidator(validate)


def _text_of(parse: Callable[[str], T], what: str) -> PlainValidator:
    def validate(text: Any, member: ValidationInfo) -> T:
        if not isinstance(text, str):
            raise refused(f"{member.field_name}: must be {what}")
        try:
            return parse(text)
        except InvalidRequestError as error:
            problems = (f"{member.field_name}: {problem}" for problem in error.problems)
            raise refused(*problems) from error

    return PlainValidator(validate)


def _free_form(value: Any, member: ValidationInfo) -> JsonText:
    if not isinstance(value, dict):
        raise refused(f"{member.field_name}: must be a JSON object")
    try:
        return to_json_text(value)
    except ValueError as error:
        raise refused(f"{member.field_name}: {error}") from error


def _lasting(duration: timedelta, member: ValidationInfo) -> timedelta:
    if duration <= timedelta(0):
        raise refused(f"{member.field_name}: must be longer than zero")
    return duration


def _distinct_queues(names: list[str], member: ValidationInfo) -> list[str]:
    distinct = list(dict.fromkeys(names))
    if len(distinct) > MAX_QUEUES:
        raise refused(f"{member.field_name}: must not have more than {MAX_QUEUES} queues")
    if any(queue_problems(name) for name in distinct):
        raise refused(*_queue_problems(names, str(member.field_name)))
    return distinct


def _queue_problems(names: list[str], field: str) -> Iterator[str]:
    shown: set[str] = set()
    for position, name in enumerate(names):
        if name not in shown:
            shown.add(name)
            yield from (f"{field}[{position}]: {problem}" for problem in queue_problems(name))


def _instant_or_zero(text: str) -> datetime | None:
    """Read an instant; the zero one is what Go clients send for 'not set'."""
    instant = parse_instant(text)
    return None if instant == ZERO and text.endswith("Z") else instant


_DURATION_SCHEMA: Final = WithJsonSchema({"type": "string", "examples": ["30s", "5m", "1h30m"]})
Duration = Annotated[
    timedelta, _text_of(parse_duration, "a duration in text, such as '30s'"), _DURATION_SCHEMA
]
Instant = Annotated[
    datetime | None,
    _text_of(_instant_or_zero, "an RFC 3339 instant in text"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
FreeForm = Annotated[
    JsonText,
    PlainValidator(_free_form),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]
Int32 = Annotated[int, Field(json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
QueueName = Annotated[str, _named(check_queue)]
QueueNames = Annotated[list[str], AfterValidator(_distinct_queues)]
TaskId = Annotated[str, _named(check_task_id)]
# Named, so that a client has one type of each, with constants.
MisfirePolicy = TypeAliasType("MisfirePolicy", Literal["skip", "fire_once", "fire_all"])
Outcome = TypeAliasType("Outcome", Literal["done", "failed"])
Kind = Annotated[str, _named(check_kind)]
Timeout = Annotated[Duration, AfterValidator(_lasting)]
RecurringTaskId = Annotated[str, _named(check_recurring_task_id)]
ScheduleExpression = Annotated[str, _accepted_by(Schedule.parse)]
TimeZone = Annotated[str, _accepted_by(load_time_zone)]
