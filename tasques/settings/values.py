"""The types of single settings: how each reads its text, and how it writes it.

File and environment speak the same language: every type takes the text form, so a word means the
same in both. Texts are taken as they are, blanks included.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    SecretStr,
)

from tasques.domain.duration import InvalidDurationError, format_duration, parse_duration
from tasques.settings.addresses import BindAddress, has_credentials, normalise_address
from tasques.settings.yaml_reader import plain_value, read_yaml

MASK: Final = "********"

_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_SIZE: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]{0,3})")
_LEVELS: Final = {"warning": "warn", "critical": "fatal", "panic": "fatal"}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text (in quotes, if it looks like a list or a block)")  # noqa: TRY004 - pydantic collects ValueErrors only
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8") from None
    return str(value)


def _filled(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _secret(value: object) -> SecretStr:
    if isinstance(value, SecretStr):
        return value
    return SecretStr(_filled(_text(value)))


def _one_line(secret: SecretStr) -> SecretStr:
    if not re.fullmatch("[!-~]+", secret.get_secret_value()):
        raise ValueError("must be ASCII without blanks: it goes into a header")
    return secret


def parse_flag(value: object) -> bool:
    """Read true, yes, on, 1 or false, no, off, 0, in any case.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, bool):
        return value
    flag = _WORDS.get(_text(value).strip().lower())
    if flag is None:
        raise ValueError(f"{value!s:.40} is none of true, yes, on, 1, false, no, off, 0")
    return flag


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value).strip()
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise ValueError(f"{text:.40} is no whole number")
    return int(text)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(_text(value).strip())
    except InvalidDurationError as error:
        raise ValueError(f"{error}; a number needs its unit") from None


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value).strip()
    match = _SIZE.fullmatch(text)
    factor = _UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text:.40} is no size such as 5MiB, 64KiB or a number of bytes")
    return int(match[1]) * factor


def _show_size(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        count, rest = divmod(size, _UNITS[unit.lower()])
        if count and not rest:
            return f"{count}{unit}"
    return str(size)


def _word(value: object) -> str:
    return _text(value).strip().lower()


def _level(value: object) -> str:
    word = _word(value)
    return _LEVELS.get(word, word)


def _bind_address(value: object) -> BindAddress:
    return value if isinstance(value, BindAddress) else BindAddress.parse(_text(value).strip())


def comma_list(value: object) -> object:
    """Split a text at its commas, without the blanks around; anything else is left as it is."""
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]


def _object(value: object) -> object:
    return read_yaml(value) if isinstance(value, str) else value


def _verbatim(value: object) -> object:
    return plain_value(_object(value))


def _address(value: object) -> str:
    return normalise_address(_text(value).strip())


def _bare_address(hint: str) -> PlainValidator:
    """An address that may not hold credentials; `hint` says what to do instead."""

    def check(value: object) -> str:
        if has_credentials(_text(value).strip()):
            raise ValueError(f"holds credentials: {hint}")
        return _address(value)

    return PlainValidator(check)


def _within(low: Any, high: Any, meaning: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise ValueError(f"must be between {meaning}")
        return value

    return AfterValidator(check)


def between(low: int, high: int) -> AfterValidator:
    """Bound a whole number; here and below both ends are allowed."""
    return _within(low, high, f"{low} and {high}")


def lasting(shortest: str, longest: str) -> AfterValidator:
    """Bound a duration."""
    ends = parse_duration(shortest), parse_duration(longest)
    return _within(*ends, f"{shortest} and {longest}")


def sized(smallest: str, largest: str) -> AfterValidator:
    """Bound a size."""
    return _within(_size(smallest), _size(largest), f"{smallest} and {largest}")


def matching(pattern: str, meaning: str) -> AfterValidator:
    """Demand that a text has a form."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {meaning}")
        return text

    return AfterValidator(check)


Text = Annotated[str, PlainValidator(_text), AfterValidator(_filled)]
Flag = Annotated[bool, PlainValidator(parse_flag)]
Integer = Annotated[int, PlainValidator(_integer)]
Duration = Annotated[timedelta, PlainValidator(_duration), PlainSerializer(format_duration)]
Size = Annotated[int, PlainValidator(_size), PlainSerializer(_show_size)]
Secret = Annotated[SecretStr, PlainValidator(_secret), PlainSerializer(lambda _: MASK)]
HeaderSecret = Annotated[Secret, AfterValidator(_one_line)]
UserName = Annotated[
    Text, matching(r"[^:\x00-\x1f\x7f]+", "a name without colon or control characters")
]
File = Annotated[
    Path, PlainValidator(lambda value: Path(_filled(_text(value)))), PlainSerializer(str)
]
Listen = Annotated[BindAddress, PlainValidator(_bind_address), PlainSerializer(str)]
Address = Annotated[str, PlainValidator(_address)]
KibanaAddress = Annotated[str, _bare_address("give them in kibana.user")]
ApmAddress = Annotated[str, _bare_address("an APM server takes apm.secret_token instead")]
SpaceId = Annotated[
    Text, matching("[a-z0-9_-]+", "the id of a space: lower-case letters, digits, '_' and '-'")
]
IndexPrefix = Annotated[
    Text,
    matching(
        r"\.?[a-z0-9][a-z0-9._-]{0,62}",
        "at most 64 lower-case letters, digits, '.', '_' and '-', and begin with a letter, a digit "
        "or '.' and one of these",
    ),
]
TimeUnit = Annotated[
    Text, matching("[1-9][0-9]*(d|h|m|s|ms)", "a time of Elasticsearch, such as 1d or 12h")
]
ByteUnit = Annotated[
    Text, matching("[1-9][0-9]*(b|kb|mb|gb|tb|pb)", "a size of Elasticsearch, such as 50gb")
]
JsonObject = Annotated[dict[str, JsonValue], BeforeValidator(_verbatim)]
Level = Annotated[
    Literal["trace", "debug", "info", "warn", "error", "fatal"], BeforeValidator(_level)
]
LogFormat = Annotated[Literal["auto", "text", "json"], BeforeValidator(_word)]

COMMA_LIST: Final = BeforeValidator(comma_list)
"""A list may be given as one text, its items parted by commas."""
YAML_OBJECT: Final = BeforeValidator(_object)
"""An object or a list of objects may be given as one text of YAML."""
BLANK_IS_UNSET: Final = BeforeValidator(lambda value: None if value == "" else value)
"""An optional setting that is empty is one that is not set."""
