from __future__ import annotations

import pytest
from elastic_transport import (
    ApiResponseMeta,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    SerializationError,
    TlsError,
)
from elastic_transport import ConnectionError as NoConnectionError
from elasticsearch import ApiError

from tasques.domain.errors import StoreUnavailableError
from tasques.repository.setup_errors import SetupError, explained


def refusal(status, body):
    meta = ApiResponseMeta(
        status=status,
        http_version="1.1",
        headers=HttpHeaders(),
        duration=0.0,
        node=NodeConfig("http", "localhost", 9200),
    )
    return ApiError("refused", meta, body)


def details(kind, reason, cause=None):
    error = {"type": kind, "reason": reason}
    if cause:
        error["caused_by"] = {"type": "cause", "reason": cause}
    return {"error": error, "status": 0}


def explain(error):
    with explained("write the template", privilege="cluster privilege manage"):
        raise error


def test_a_refusal_tells_the_reason_and_its_innermost_cause():
    error = refusal(400, details("illegal_argument_exception", "it is wrong", "a comma"))

    with pytest.raises(SetupError, match=r"write the template: .*400, it is wrong: a comma"):
        explain(error)


def test_a_missing_privilege_is_named():
    error = refusal(403, details("security_exception", "action is unauthorized for user [x]"))

    with pytest.raises(SetupError, match=r"needs the cluster privilege manage .*user \[x\]"):
        explain(error)


def test_a_block_is_no_matter_of_privileges():
    error = refusal(403, details("cluster_block_exception", "blocked by: [cluster read-only]"))

    with pytest.raises(SetupError, match="read-only") as caught:
        explain(error)

    assert "privilege" not in str(caught.value)


def test_wrong_credentials_are_called_so():
    error = refusal(401, details("security_exception", "unable to authenticate user"))

    with pytest.raises(SetupError, match="does not accept the credentials"):
        explain(error)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_cluster_that_is_busy_or_starting_may_be_asked_again(status):
    with pytest.raises(StoreUnavailableError, match="now"):
        explain(refusal(status, details("master_not_discovered_exception", "no master")))


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", None, {"error": "text"}, {}, []])
def test_an_answer_of_any_shape_is_explained(body):
    with pytest.raises(SetupError, match="Elasticsearch answers 404"):
        explain(refusal(404, body))


@pytest.mark.parametrize("kind", [NoConnectionError, ConnectionTimeout])
def test_no_answer_may_be_tried_again(kind):
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        explain(kind("connection refused"))


@pytest.mark.parametrize("kind", [TlsError, SerializationError])
def test_what_trying_again_does_not_mend_is_no_outage(kind):
    with pytest.raises(SetupError, match="certificate"):
        explain(kind("certificate verify failed"))
