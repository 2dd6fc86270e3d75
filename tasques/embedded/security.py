"""Password and certificates of a secured cluster; made once and kept with its data."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasques.embedded.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

CA_FILE = "ca.pem"
_FILES = {
    "password": "password",
    "ca_pem": CA_FILE,
    "key_pem": "key.pem",
    "certificate_pem": "certificate.pem",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a secured cluster is made with.

    Attributes:
        password: of the user `elastic`.
        ca_pem: the certificate of the authority that signed the server's.
        key_pem: the server's private key.
        certificate_pem: the server's certificate and those up to the authority.
    """

    password: bytes
    ca_pem: bytes
    key_pem: bytes
    certificate_pem: bytes


def new_credentials() -> Credentials:
    """Fresh ones, for 127.0.0.1.

    Raises:
        MissingExtraError: trustme is not installed.
    """
    try:
        import trustme  # noqa: PLC0415 -- part of the optional extra
    except ImportError as error:
        raise MissingExtraError("trustme") from error
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1")
    return Credentials(
        password=secrets.token_urlsafe(18).encode(),
        ca_pem=authority.cert_pem.bytes(),
        key_pem=leaf.private_key_pem.bytes(),
        certificate_pem=b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
    )


def kept_credentials(store: Path) -> Credentials:
    """Those in the directory `store`; new ones are put there first when there are none."""
    if not store.exists():
        made = new_credentials()
        staging = store.with_name(f"{store.name}.part")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        for name, file in _FILES.items():
            (staging / file).write_bytes(getattr(made, name))
        staging.rename(store)
    return Credentials(**{name: (store / file).read_bytes() for name, file in _FILES.items()})
