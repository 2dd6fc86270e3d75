"""Network addresses in settings: where to listen, and where Elasticsearch and others are.

The messages never show the address itself: a password may be in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import unquote

_SCHEME: Final = re.compile(r"(?P<scheme>https?)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[0-9]{1,5}))?")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_PATH: Final = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*)*")
_ENCODED: Final = re.compile(r"([^\s#?/\[\]@%\x00-\x1f\x7f]|%[0-9A-Fa-f]{2})*")
_PORT_OF_SCHEME: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class BindAddress:
    """Where the server listens. Port 0 lets the system choose one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> BindAddress:
        """Read `host:port`, `[::1]:port` or `:port` (all of IPv4).

        Raises:
            ValueError: it is none of these.
        """
        host, port = _host_and_port(text)
        if port is None:
            raise ValueError("has no port: write host:port, such as localhost:8080")
        return cls(host.strip("[]") or "0.0.0.0", port)  # noqa: S104 - what `:8080` asks for

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """A user in an address, decoded."""

    name: str
    password: str


def has_credentials(address: str) -> bool:
    """Whether there are some, or what looks like it, before the host."""
    match = _SCHEME.fullmatch(address)
    return match is not None and "@" in match["rest"]


def split_credentials(address: str) -> tuple[str, Credentials | None]:
    """Take `name:password@` out of an address.

    Raises:
        ValueError: there are some, but not percent-encoded or not both parts.
    """
    match = _SCHEME.fullmatch(address)
    if match is None or "@" not in match["rest"]:
        return address, None
    user, _, rest = match["rest"].rpartition("@")
    if not _ENCODED.fullmatch(user):
        raise ValueError(
            "holds credentials with characters that must be percent-encoded ('@' as %40, '#' as "
            "%23, '/' as %2F, '[' as %5B, '%' as %25); better give them in "
            "elasticsearch.user.name and elasticsearch.user.password"
        )
    name, _, password = user.partition(":")
    if not (name and password):
        raise ValueError("holds a user without name or without password")
    try:
        decoded = Credentials(*(unquote(part, errors="strict") for part in (name, password)))
    except UnicodeDecodeError:
        raise ValueError("holds credentials that are not UTF-8") from None
    return f"{match['scheme']}://{rest}", decoded


def normalise_address(text: str) -> str:
    """Check an address of Elasticsearch; return it with port, without a slash at its end.

    Raises:
        ValueError: it is none, or holds credentials.
    """
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise ValueError("must begin with http:// or https://, such as http://localhost:9200")
    if split_credentials(text)[1]:
        raise ValueError(
            "holds credentials: give them in elasticsearch.user only, or, percent-encoded, in the "
            "addresses only and the same in each that has some"
        )
    authority, slash, path = match["rest"].partition("/")
    host, port = _host_and_port(authority)
    if not host:
        raise ValueError("has no host")
    if port == 0:
        raise ValueError("has port 0")
    if not _PATH.fullmatch(slash + path):
        raise ValueError("must have neither a query nor a fragment, nor blanks in its path")
    scheme = match["scheme"].lower()
    return f"{scheme}://{host}:{port or _PORT_OF_SCHEME[scheme]}{(slash + path).rstrip('/')}"


def _host_and_port(text: str) -> tuple[str, int | None]:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError(
            "is no host and port: write localhost:8080, or an IPv6 address in brackets, [::1]:8080"
        )
    host, port = match["host"], match["port"]
    if host.startswith("["):
        _check_ipv6(host[1:-1])
    elif host and not _HOST_NAME.fullmatch(host):
        raise ValueError("has no valid host name")
    if port is not None and int(port) > 65535:
        raise ValueError("has a port above 65535")
    return host, None if port is None else int(port)


def _check_ipv6(text: str) -> None:
    try:
        IPv6Address(text)
    except ValueError:
        raise ValueError("has no valid IPv6 address in its brackets") from None
