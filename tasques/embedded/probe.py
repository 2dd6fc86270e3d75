"""Asking a node of ours over HTTP. `http.client` knows no proxies: loopback needs none."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING

from tasques.embedded.errors import ClosedPathError, InvalidOptionError, PortTakenError

if TYPE_CHECKING:
    from tasques.embedded.security import Credentials

LOOPBACK = "127.0.0.1"
_TIMEOUT = 5.0  # seconds for one answer


def answers(port: int, path: str, credentials: Credentials | None) -> str | None:
    """Ask for `path`; `None` when the answer is 200, else what came instead."""
    connection = _connection(port, credentials)
    headers = {}
    if credentials is not None:
        login = b64encode(b"elastic:" + credentials.password).decode()
        headers["Authorization"] = f"Basic {login}"
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return (
        None
        if response.status == 200
        else f"{response.status} {body[:500].decode(errors='replace')}"
    )


def _connection(port: int, credentials: Credentials | None) -> http.client.HTTPConnection:
    if credentials is None:
        return http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
    context = ssl.create_default_context(cadata=credentials.ca_pem.decode())
    return http.client.HTTPSConnection(LOOPBACK, port, timeout=_TIMEOUT, context=context)


def require_free(port: int) -> None:
    """Check that a server of this account could listen on `port`.

    Raises:
        InvalidOptionError: it is no port.
        PortTakenError: someone listens there.
        ClosedPathError: it is reserved for root.
    """
    if not 1 <= port <= 65535:
        raise InvalidOptionError(f"{port} is no port: 1 to 65535, or 0 for any free one")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            listener.bind((LOOPBACK, port))
        except PermissionError as error:
            raise ClosedPathError(
                f"port {port} is reserved for root: choose a higher one"
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(port) from error
            raise
