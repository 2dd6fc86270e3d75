"""Certificate authorities in a file that may be replaced while we run."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Self

from tasques.repository.setup_errors import SetupError

log = logging.getLogger(__name__)

_State = tuple[int, int, int]


class FollowedAuthorities(ssl.SSLContext):
    """Trusts those authorities only that a file holds at the time of each new connection.

    Operators renew authorities long before they end, so connections that are open stay so.
    """

    _file: Path
    _state: _State
    _context: ssl.SSLContext

    def __new__(cls, file: Path) -> Self:
        """Trust what the file holds.

        Raises:
            SetupError: it can not be read, or holds no certificate.
        """
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self._file = file
        try:
            self._state = _state(file)
            self._context = _trusting(file)
        except ssl.SSLError as error:
            raise SetupError(
                f"There is no certificate in {file} (it must be in PEM format)."
            ) from error
        except OSError as error:
            raise SetupError(
                f"Can not read the certificates in {file}: {error.strerror}."
            ) from error
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as in the method that it replaces
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What an event loop calls for each new connection."""
        self._follow()
        return self._context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _follow(self) -> None:
        try:
            if (state := _state(self._file)) == self._state:
                return
            self._context = _trusting(self._file)
        except OSError as error:  # perhaps it is just being written
            log.warning(
                "can not read the certificate authorities: those from before stay trusted",
                extra={"file": str(self._file), "reason": str(error)},
            )
        else:
            self._state = state
            log.info("certificate authorities were replaced", extra={"file": str(self._file)})


def _state(file: Path) -> _State:
    """What is another one once the file, or what a link points to, is replaced."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _trusting(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates, and names in them
    context.load_verify_locations(cafile=file)
    return context
