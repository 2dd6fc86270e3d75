from __future__ import annotations

from collections.abc import Iterator

import pytest
from factories import START

from tasques.domain import duration, errors, instant

LOADED = (duration, instant)  # they add errors of their own


def every_error(root: type[errors.TasquesError]) -> Iterator[type[errors.TasquesError]]:
    """The error and those below it, as far as the domain goes."""
    yield root
    for error in root.__subclasses__():
        if error.__module__.startswith("tasques.domain."):
            yield from every_error(error)


def test_the_codes_on_the_wire_do_not_change():
    codes = {error.__name__: error.code for error in every_error(errors.TasquesError)}

    assert (
        codes
        | {
            "TasquesError": "internal_error",
            "InvalidRequestError": "invalid_request",
            "InvalidDurationError": "invalid_duration",
            "InvalidInstantError": "invalid_instant",
            "TooLargeError": "too_large",
            "TaskNotFoundError": "task_not_found",
            "TaskAlreadyExistsError": "task_already_exists",
            "InvalidStateError": "invalid_state",
            "NotClaimedError": "not_claimed",
            "UnclaimableError": "unclaimable",
            "ReportFromThePastError": "report_from_the_past",
            "NotOwnedByWorkerError": "not_owned_by_worker",
            "VersionConflictError": "version_conflict",
            "UnavailableError": "unavailable",
            "StoreUnavailableError": "store_unavailable",
            "StoreBlockedError": "store_blocked",
            "UnresolvedWriteError": "outcome_unknown",
            "OverloadedError": "overloaded",
            "ShuttingDownError": "shutting_down",
            "StoreRejectedError": "store_rejected",
            "CorruptDocumentError": "corrupt_document",
        }
        == codes
    )


def test_no_two_errors_share_a_code():
    codes = [error.code for error in every_error(errors.TasquesError)]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", list(every_error(errors.UnavailableError)))
def test_whoever_is_told_to_try_again_is_told_when(error):
    assert error.retry_after >= 1


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.TooLargeError, errors.InvalidRequestError),
        (errors.NotClaimedError, errors.InvalidStateError),
        (errors.UnclaimableError, errors.InvalidStateError),
        (errors.ReportFromThePastError, errors.InvalidStateError),
        (errors.StoreUnavailableError, errors.UnavailableError),
        (errors.StoreBlockedError, errors.UnavailableError),
        (errors.UnresolvedWriteError, errors.UnavailableError),
        (errors.OverloadedError, errors.UnavailableError),
        (errors.ShuttingDownError, errors.UnavailableError),
    ],
)
def test_the_second_level_says_what_the_caller_may_do(error, parent):
    assert parent in error.__bases__
    assert parent.__bases__ == (errors.TasquesError,)


@pytest.mark.parametrize(
    "error",
    [
        errors.TaskNotFoundError("mail", "task-1"),
        errors.TaskAlreadyExistsError("mail", "task-1"),
        errors.NotClaimedError("mail", "task-1", "done"),
        errors.UnclaimableError("mail", "task-1", "done"),
        errors.ReportFromThePastError("mail", "task-1", START),
        errors.NotOwnedByWorkerError("mail", "task-1", "worker-1"),
        errors.VersionConflictError("mail", "task-1"),
        errors.UnresolvedWriteError("mail", "task-1"),
    ],
    ids=lambda error: error.code,
)
def test_an_error_about_a_task_carries_and_names_its_queue_and_id(error):
    assert (error.queue, error.task_id) == ("mail", "task-1")
    assert "'task-1'" in str(error)
    assert "'mail'" in str(error)


def test_an_id_with_line_breaks_does_not_break_the_line():
    message = str(errors.TaskNotFoundError("mail", "a\nb\x1b[31m\ud800"))

    assert message.isprintable()
    assert message.isascii()


def test_a_broken_document_is_named_with_the_reason():
    error = errors.CorruptDocumentError("mail:task-1", "no state")

    assert (error.document_id, error.reason) == ("mail:task-1", "no state")
    assert str(error) == "The stored document 'mail:task-1' is broken: no state"


def test_each_fault_of_a_request_is_a_line():
    error = errors.InvalidRequestError("id: must not be empty", "kind: must not be empty")

    assert error.problems == ("id: must not be empty", "kind: must not be empty")
    assert str(error) == "id: must not be empty\nkind: must not be empty"
