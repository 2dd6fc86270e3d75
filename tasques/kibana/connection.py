"""Kibana over HTTP, as far as an import needs it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

_NOT_NOW: Final = frozenset({429, 502, 503, 504})
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
_IMPORT: Final = "/api/saved_objects/_import?overwrite=true"
_DEFAULT_SPACE: Final = "default"


class KibanaError(Exception):
    """The import failed; the message says what to do."""


class NotReadyError(Exception):
    """There is no answer, or none yet: trying again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KibanaOptions:
    """How to reach Kibana.

    Attributes:
        address: its URL, with the base path if it has one.
        space: the id of a space.
        user: name and password, or None.
        api_key: the encoded key, or None; goes before the user.
        ca_file: certificates to trust instead of the system's, or None.
        verify_certificates: whether to check who answers.
        start_timeout: seconds to wait for a Kibana that is still starting.
    """

    address: str
    space: str = _DEFAULT_SPACE
    user: tuple[str, str] | None = None
    api_key: str | None = None
    ca_file: Path | None = None
    verify_certificates: bool = True
    start_timeout: float = 180.0

    @property
    def authorization(self) -> str | None:
        """The header that says who we are."""
        if self.api_key is not None:
            return f"ApiKey {self.api_key}"
        if self.user is not None:
            return f"Basic {base64.b64encode(':'.join(self.user).encode()).decode()}"
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON object, empty if there is none in the body."""

    status: int
    body: Mapping[str, Any]


class Kibana:
    """A Kibana to which there is a way."""

    def __init__(self, session: aiohttp.ClientSession, options: KibanaOptions) -> None:
        self._session = session
        self._address = options.address
        self._space = "" if options.space == _DEFAULT_SPACE else f"/s/{options.space}"

    async def status(self) -> Answer:
        """How it is, and of what version.

        Raises:
            NotReadyError: it does not answer, or is starting.
            KibanaError: it can not be trusted.
        """
        return await self._ask("GET", "/api/status")

    async def import_file(self, objects: bytes) -> Answer:
        """Write saved objects over those that are there; may be repeated. Raises as `status`."""
        form = aiohttp.FormData()
        form.add_field(
            "file", objects, filename="tasques.ndjson", content_type="application/ndjson"
        )
        return await self._ask("POST", self._space + _IMPORT, form)

    async def _ask(self, method: str, path: str, data: aiohttp.FormData | None = None) -> Answer:
        try:
            async with self._session.request(
                method, self._address + path, data=data, allow_redirects=False
            ) as response:
                status, text = response.status, await response.read()
        except aiohttp.ClientSSLError as error:
            raise KibanaError(
                f"Kibana at {self._address} can not be trusted, see kibana.ca_file: {error}"
            ) from error
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is one of the latter
            raise NotReadyError(str(error) or "it does not answer in time") from error
        if status in _NOT_NOW:
            raise NotReadyError(f"it answers {status}")
        return Answer(status, _object(text))


@asynccontextmanager
async def connected(options: KibanaOptions) -> AsyncIterator[Kibana]:
    """Kibana for the time of a block; no proxy in the environment is used.

    Raises:
        KibanaError: the certificates to trust can not be read.
    """
    headers = {"kbn-xsrf": "tasques"}
    if (authorization := options.authorization) is not None:
        headers["Authorization"] = authorization
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_trust(options)),
        headers=headers,
        timeout=_REQUEST_TIMEOUT,
    ) as session:
        yield Kibana(session, options)


def _trust(options: KibanaOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except ssl.SSLError as error:
        raise KibanaError(
            f"There is no certificate in {options.ca_file} (it must be in PEM format)."
        ) from error
    except OSError as error:
        raise KibanaError(
            f"Can not read the certificates in {options.ca_file}: {error.strerror}."
        ) from error
    if not options.verify_certificates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
