"""The ciphers, by the kinds of their tasks."""

from __future__ import annotations

import base64
import codecs
import hashlib
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

QUEUE: Final = "messages_and_ciphers"

_LETTERS: Final = string.ascii_lowercase + string.ascii_uppercase
_NEXT_LETTERS: Final = "".join(
    case[1:] + case[0] for case in (string.ascii_lowercase, string.ascii_uppercase)
)
_ROT_1: Final = str.maketrans(_LETTERS, _NEXT_LETTERS)


@dataclass(frozen=True, slots=True)
class Cipher:
    """One way to cipher.

    Attributes:
        field: where a message has what came out.
    """

    field: str
    apply: Callable[[str], str]


def _rot_1(plain: str) -> str:
    return plain.translate(_ROT_1)


def _rot_13(plain: str) -> str:
    return codecs.encode(plain, "rot13")


def _base_64(plain: str) -> str:
    return base64.b64encode(plain.encode()).decode("ascii")


def _md_5(plain: str) -> str:
    return hashlib.md5(plain.encode(), usedforsecurity=False).hexdigest()


CIPHERS: Final[Mapping[str, Cipher]] = {
    "Rot1": Cipher("rot_1", _rot_1),
    "Rot13": Cipher("rot_13", _rot_13),
    "Base64": Cipher("base_64", _base_64),
    "Md5": Cipher("md_5", _md_5),
}
