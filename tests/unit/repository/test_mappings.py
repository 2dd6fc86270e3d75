from __future__ import annotations

from datetime import timedelta

import orjson
from factories import START, a_claimed_task, a_task

from tasques.domain.task import JsonText, Task
from tasques.repository.documents import to_document
from tasques.repository.mappings import TASKS, Fields, difference, mapping

MARK = {"managed_by": "tasques", "version": 1}


def field_paths(fields: Fields, parent: str = "") -> set[str]:
    """Every field that holds something, with dots."""
    paths = set()
    for name, field in fields.items():
        if "properties" in field:
            paths |= field_paths(field["properties"], f"{parent}{name}.")
        else:
            paths.add(parent + name)
    return paths


def member_paths(document: dict, parent: str = "") -> set[str]:
    paths = set()
    for name, member in document.items():
        if isinstance(member, dict):
            paths |= member_paths(member, f"{parent}{name}.")
        else:
            paths.add(parent + name)
    return paths


def documents_of_a_whole_life() -> list[Task]:
    claimed = a_claimed_task(
        args=JsonText("{}"),
        context=JsonText("{}"),
        recurring_task_id="nightly",
        scheduled_for=START,
        traceparent="00-1-2-01",
    )
    later = START + timedelta(seconds=1)
    reported = claimed.report(worker_id="worker-1", at=later, data=JsonText("{}"))
    done = reported.complete(worker_id="worker-1", at=later, success=JsonText("{}"))
    failed = reported.fail(worker_id="worker-1", at=later, failure=JsonText("{}"), retry_at=later)
    return [a_task(), claimed, reported, done, failed]


def test_the_mapping_has_exactly_the_members_that_documents_have():
    written = set().union(
        *(
            member_paths(orjson.loads(to_document(task, "write-1")))
            for task in documents_of_a_whole_life()
        )
    )

    assert written == field_paths(TASKS)


def test_what_clients_say_in_free_form_is_never_looked_into():
    opaque = {"type": "object", "enabled": False}
    claim = TASKS["last_claimed"]["properties"]

    assert TASKS["args"] == TASKS["context"] == opaque
    assert claim["last_report"]["properties"]["data"] == opaque
    assert claim["result"]["properties"]["success"] == opaque
    assert claim["result"]["properties"]["failure"] == opaque


def test_a_mapping_can_be_serialised_and_is_strict():
    whole = orjson.loads(orjson.dumps(mapping(TASKS, MARK)))

    assert whole["dynamic"] == "strict"
    assert whole["_meta"] == MARK
    assert whole["properties"]["last_claimed"]["properties"]["worker_id"] == {"type": "keyword"}


def test_a_mapping_does_not_differ_from_itself():
    gap = difference(mapping(TASKS, MARK)["properties"], TASKS)

    assert gap.missing == {}
    assert gap.conflicts == ()


def test_a_field_is_missing_with_the_objects_around_it():
    stored = {"claim": {"properties": {"at": {"type": "date"}}}}
    wanted = {
        "claim": {"properties": {"at": {"type": "date"}, "by": {"type": "keyword"}}},
        "kind": {"type": "keyword"},
    }

    gap = difference(stored, wanted)

    assert gap.missing == {
        "claim": {"properties": {"by": {"type": "keyword"}}},
        "kind": {"type": "keyword"},
    }
    assert gap.conflicts == ()


def test_fields_that_only_the_stored_mapping_has_are_left_alone():
    gap = difference({"kind": {"type": "keyword"}, "colour": {"type": "keyword"}}, {})

    assert gap.missing == {}
    assert gap.conflicts == ()


def test_parameters_that_an_operator_added_to_a_field_are_no_conflict():
    gap = difference(
        {"kind": {"type": "keyword", "ignore_above": 1024}}, {"kind": {"type": "keyword"}}
    )

    assert gap.missing == {}
    assert gap.conflicts == ()


def test_a_field_of_another_type_is_a_conflict_that_names_it():
    stored = {"kind": {"type": "text"}, "claim": {"properties": {"at": {"type": "long"}}}}
    wanted = {
        "kind": {"type": "keyword"},
        "claim": {"properties": {"at": {"type": "date"}}},
    }

    gap = difference(stored, wanted)

    assert gap.missing == {}
    assert gap.conflicts == (
        "kind is of type text and must be keyword",
        "claim.at is of type long and must be date",
    )


def test_an_object_that_is_looked_into_conflicts_with_one_that_is_not():
    stored = {"args": {"properties": {"user": {"type": "text"}}}}

    gap = difference(stored, {"args": {"type": "object", "enabled": False}})

    assert gap.conflicts == ("args is of type object and must be object (not enabled)",)


def test_a_leaf_where_an_object_is_wanted_is_a_conflict():
    stored = {"metadata": {"type": "keyword"}}

    gap = difference(stored, {"metadata": {"properties": {"at": {"type": "date"}}}})

    assert gap.conflicts == ("metadata is of type keyword and must be object",)
