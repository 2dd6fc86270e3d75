"""`tasques healthcheck`: asks the server of these settings whether it is ready.

It is for images without a shell, and runs every few seconds: it loads none of the libraries of the
server.
"""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import Final

import typer

from tasques.command_options import ConfigFile
from tasques.settings import BindAddress, SettingsError, load

_READY_PATH: Final = "/health/ready"
_TIMEOUT: Final = 2.0  # seconds; with what Python takes to start, less than three
_MAX_ANSWER: Final = 64 * 1024
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}


class UnhealthyError(Exception):
    """The server is not ready, or not there; the message says what was found."""


def healthcheck(config: ConfigFile = None) -> None:
    """Ask the server that these settings belong to whether it is ready: exit code 0 if it is."""
    try:
        address = where_to_ask(load(config, os.environ).settings.bind_address)
        require_ready(address)
    except (SettingsError, UnhealthyError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{address} is ready.")


def where_to_ask(listening: BindAddress) -> BindAddress:
    """Where on this machine a server is found that listens there: all addresses include loopback.

    Raises:
        UnhealthyError: the system chooses the port, so nobody knows it.
    """
    if listening.port == 0:
        raise UnhealthyError("The settings leave the port to the system (0): it is not known.")
    try:
        address = ip_address(listening.host)
    except ValueError:  # a name
        return listening
    if address.is_unspecified:
        return BindAddress(_LOOPBACK[address.version], listening.port)
    return listening


def require_ready(address: BindAddress, timeout: float = _TIMEOUT) -> None:
    """See that the server there is ready; no proxy is used, whatever the environment says.

    Args:
        address: of the server.
        timeout: for connecting, and for each part of the answer, in seconds.

    Raises:
        UnhealthyError: it is not, or does not answer in time.
    """
    connection = HTTPConnection(address.host, address.port, timeout=timeout)
    try:
        connection.request("GET", _READY_PATH)
        response = connection.getresponse()
        status, body = response.status, response.read(_MAX_ANSWER)
    except TimeoutError as error:
        raise UnhealthyError(f"{address} does not answer within {timeout} s.") from error
    except (OSError, HTTPException) as error:
        raise UnhealthyError(f"{address} does not answer: {error}.") from error
    finally:
        connection.close()
    if status != 200:
        raise UnhealthyError(f"{address} is not ready ({status}): {_reason(body)}")


def _reason(body: bytes) -> str:
    """What the answer says, in one line."""
    try:
        text = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return "it does not say why."
    return " ".join(str(text).split())
