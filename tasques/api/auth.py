"""Who may use the API: basic authentication, if any user is configured."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from contextlib import suppress

from tasques.api.errors import NotAuthenticatedError
from tasques.api.headers import Headers, find_header


class BasicAuth:
    """Tells users from strangers by the `Authorization` header.

    Without users everybody is let in. Comparing takes as long for a wrong password as for the
    right one, whoever it is that asks.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._credentials = [
            encoded
            for name, password in users.items()
            for encoded in _encodings(f"{name}:{password}")
        ]

    @property
    def is_required(self) -> bool:
        """Whether there are users at all."""
        return bool(self._credentials)

    @property
    def documented(self) -> list[dict[str, list[str]]]:
        """What the API document says of a route for users: optional where there are none."""
        return [{"BasicAuth": []}] if self.is_required else [{"BasicAuth": []}, {}]

    def check(self, headers: Headers) -> None:
        """Let a user pass.

        Raises:
            NotAuthenticatedError: it is none.
        """
        if self._credentials and not self._is_user(find_header(headers, b"authorization")):
            raise NotAuthenticatedError

    def _is_user(self, authorization: bytes | None) -> bool:
        scheme, _, encoded = (authorization or b"").strip().partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            return False
        matches = [hmac.compare_digest(given, known) for known in self._credentials]
        return any(matches)


def _encodings(credentials: str) -> set[bytes]:
    """In UTF-8, as it should be, and in Latin-1, as scripts in browsers send it."""
    encodings = {credentials.encode()}
    with suppress(UnicodeEncodeError):
        encodings.add(credentials.encode("latin-1"))
    return encodings
