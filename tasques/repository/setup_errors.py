"""What can go wrong while Elasticsearch is prepared, in words for an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from elastic_transport import SerializationError, TlsError, TransportError
from elasticsearch import ApiError

from tasques.domain.errors import StoreUnavailableError, TasquesError

_PASSING: Final = frozenset({408, 429, 502, 503, 504})
_BLOCKED: Final = "cluster_block_exception"


class SetupError(TasquesError):
    """Elasticsearch can not be used as it is; the message says what to do."""

    code = "setup_failed"


@contextmanager
def explained(action: str, *, privilege: str) -> Iterator[None]:
    """Turn what the client raises into our errors.

    Args:
        action: what is being tried, for example `read the index template tasks`.
        privilege: what a user needs for it, for example `cluster privilege monitor`.

    Raises:
        SetupError: it was refused; trying again would not help.
        StoreUnavailableError: there is no answer, or no room for the request at the moment.
    """
    try:
        yield
    except ApiError as error:
        raise _refused(action, privilege, error) from error
    except (TlsError, SerializationError) as error:
        raise SetupError(f"Could not {action}: {error.message}") from error
    except TransportError as error:
        raise StoreUnavailableError(
            f"Could not {action}: Elasticsearch does not answer ({error.message})."
        ) from error


def error_type(error: ApiError) -> str:
    """Elasticsearch's own name of the error, such as `resource_already_exists_exception`."""
    return str(_details(error).get("type", ""))


def _refused(action: str, privilege: str, error: ApiError) -> TasquesError:
    reason = _reason(error)
    match error.status_code:
        case 401:
            return SetupError(
                f"Could not {action}: Elasticsearch does not accept the credentials ({reason})."
            )
        case 403 if error_type(error) != _BLOCKED:
            return SetupError(f"Could not {action}: the user needs the {privilege} ({reason}).")
        case status if status in _PASSING and error_type(error) != _BLOCKED:
            return StoreUnavailableError(f"Could not {action} now: {reason}")
        case status:
            return SetupError(f"Could not {action}: Elasticsearch answers {status}, {reason}")


def _reason(error: ApiError) -> str:
    """The outermost reason and, where there is one, the innermost cause."""
    details = _details(error)
    reason = str(details.get("reason") or error.message)
    cause = details
    while isinstance(inner := cause.get("caused_by"), dict):
        cause = inner
    deepest = cause.get("reason")
    return f"{reason}: {deepest}" if deepest and str(deepest) not in reason else reason


def _details(error: ApiError) -> dict[str, Any]:
    details = error.body.get("error") if isinstance(error.body, dict) else None
    return details if isinstance(details, dict) else {}
