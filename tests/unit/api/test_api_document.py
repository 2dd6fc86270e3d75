from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from in_memory_api import build
from pydantic import TypeAdapter

from tasques.api import operations, recurring_operations, recurring_requests, requests
from tasques.api.operations import Operation

OPERATIONS = {
    "create-task": ("post", "/tasques"),
    "get-existing-task": ("get", "/tasques/{queue}/{id}"),
    "claim-tasks": ("post", "/tasques/claims"),
    "unclaim-existing-task": ("delete", "/tasques/claims/{queue}/{id}"),
    "report-on-claimed-task": ("put", "/tasques/reports/{queue}/{id}"),
    "mark-claimed-task-done": ("put", "/tasques/done/{queue}/{id}"),
    "mark-claimed-task-failed": ("put", "/tasques/failed/{queue}/{id}"),
    "create-tasks": ("post", "/tasques/batch"),
    "finish-tasks": ("post", "/tasques/results/batch"),
}
RECURRING_OPERATIONS = {
    "create-recurring-task": ("post", "/recurring_tasques"),
    "list-existing-recurring-tasks": ("get", "/recurring_tasques"),
    "get-existing-recurring-task": ("get", "/recurring_tasques/{id}"),
    "update-existing-recurring-task": ("put", "/recurring_tasques/{id}"),
    "delete-existing-recurring-task": ("delete", "/recurring_tasques/{id}"),
    "preview-existing-recurring-task": ("get", "/recurring_tasques/{id}/upcoming"),
    "run-existing-recurring-task": ("post", "/recurring_tasques/{id}/run"),
}
INTEGERS = {
    ("NewTask", "retry_times"): ("int32", 0),
    ("NewTask", "priority"): ("int64", None),
    ("Claim", "amount"): ("int32", 0),
    ("Task", "retry_times"): ("int32", 0),
    ("Task", "attempted"): ("int32", 0),
    ("Task", "priority"): ("int64", None),
    ("Version", "seq_num"): ("int64", None),
    ("Version", "primary_term"): ("int64", None),
    ("TaskDefinition", "retry_times"): ("int32", 0),
    ("TaskDefinition", "priority"): ("int64", None),
    ("StoredTaskDefinition", "retry_times"): ("int32", 0),
    ("StoredTaskDefinition", "priority"): ("int64", None),
    ("BatchItem", "status"): ("int32", 0),
    ("Leader", "pid"): ("int64", None),
    ("Leader", "term"): ("int64", None),
}
NEW_SCHEMAS = {
    "Batch",
    "BatchItem",
    "Leader",
    "MisfirePolicy",
    "NewTaskBatch",
    "Outcome",
    "StoredTaskDefinition",
    "TaskResult",
    "TaskResultBatch",
    "TaskState",
}
PRINT_THE_DOCUMENT = """
import asyncio, httpx
from in_memory_api import build

async def main():
    transport = httpx.ASGITransport(build().app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        print((await client.get("/openapi.json")).text)

asyncio.run(main())
"""


@pytest.fixture
async def document(client):
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def parts(value):
    """Every object inside a JSON value, itself included."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from parts(child)


@pytest.mark.parametrize(
    ("tag", "operations_of"),
    [("tasks", OPERATIONS), ("recurring-tasks", RECURRING_OPERATIONS)],
)
async def test_the_operations_have_the_names_that_clients_were_generated_from(
    document, tag, operations_of
):
    found = {
        operation["operationId"]: (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == [tag]
    }

    assert found == operations_of
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Tasques API"


async def test_the_schemas_have_the_names_of_the_original(document):
    assert set(document["components"]["schemas"]) - NEW_SCHEMAS == {
        "Claim",
        "Error",
        "Failure",
        "Health",
        "LastClaimed",
        "Metadata",
        "NewRecurringTask",
        "NewReport",
        "NewTask",
        "RecurringTask",
        "RecurringTaskUpdate",
        "Report",
        "Result",
        "Success",
        "Task",
        "TaskDefinition",
        "Version",
    }


async def test_optional_members_are_absent_and_never_null(document):
    for part in parts(document):
        assert "anyOf" not in part
        assert "oneOf" not in part
        assert not isinstance(part.get("type"), list)
        assert part.get("default", ...) is not None
    schemas_of = document["components"]["schemas"]
    assert schemas_of["NewTask"]["required"] == ["queue", "kind"]
    assert schemas_of["Claim"]["required"] == ["queues"]
    assert set(schemas_of["Task"]["required"]) == {
        "attempted",
        "id",
        "kind",
        "last_enqueued_at",
        "metadata",
        "priority",
        "processing_timeout",
        "queue",
        "retry_times",
        "run_at",
        "state",
    }
    assert schemas_of["LastClaimed"]["required"] == ["worker_id", "claimed_at", "times_out_at"]


async def test_every_integer_says_how_large_it_gets(document):
    found = {
        (name, member): (schema.get("format"), schema.get("minimum"))
        for name, component in document["components"]["schemas"].items()
        for member, schema in component.get("properties", {}).items()
        if schema.get("type") == "integer"
    }

    assert found == INTEGERS
    assert '"minimum": 0.0' not in str(document)


async def test_words_of_a_fixed_set_have_a_type_of_their_own(document):
    schemas_of = document["components"]["schemas"]
    found = {name: schema["enum"] for name, schema in schemas_of.items() if "enum" in schema}

    assert found == {
        "MisfirePolicy": ["skip", "fire_once", "fire_all"],
        "Outcome": ["done", "failed"],
        "TaskState": ["queued", "claimed", "failed", "done", "dead"],
    }
    assert sum("enum" in part for part in parts(document)) == len(found)


async def test_every_answer_is_documented(document):
    expected = {
        "create-task": {"201", "400", "409", "413"},
        "get-existing-task": {"200", "400", "404"},
        "claim-tasks": {"200", "400", "413"},
        "unclaim-existing-task": {"200", "400", "403", "404", "409"},
        "report-on-claimed-task": {"200", "400", "403", "404", "409", "413"},
        "mark-claimed-task-done": {"200", "400", "403", "404", "409", "413"},
        "mark-claimed-task-failed": {"200", "400", "403", "404", "409", "413"},
        "create-tasks": {"200", "400", "413"},
        "finish-tasks": {"200", "400", "413"},
        "create-recurring-task": {"201", "400", "409", "413"},
        "list-existing-recurring-tasks": {"200"},
        "get-existing-recurring-task": {"200", "400", "404"},
        "update-existing-recurring-task": {"200", "400", "404", "409", "413"},
        "delete-existing-recurring-task": {"200", "400", "404", "409"},
        "preview-existing-recurring-task": {"200", "400", "404", "409"},
        "run-existing-recurring-task": {"201", "400", "404", "409"},
    }
    for name, (method, path) in (OPERATIONS | RECURRING_OPERATIONS).items():
        operation = document["paths"][path][method]
        assert set(operation["responses"]) == expected[name] | {"401", "500", "503"}
        assert operation["summary"]
        assert operation["description"]
        for status, answer in operation["responses"].items():
            content = answer["content"]["application/json"]
            assert content["example"]
            if int(status) >= 400:
                assert content["schema"] == {"$ref": "#/components/schemas/Error"}


async def test_the_header_and_the_path_are_documented(document):
    for name, (method, path) in OPERATIONS.items():
        parameters = {
            (parameter["in"], parameter["name"], parameter["required"])
            for parameter in document["paths"][path][method].get("parameters", [])
        }
        expected = set()
        if "{" in path:
            expected |= {("path", "queue", True), ("path", "id", True)}
        if name not in {"create-task", "create-tasks", "get-existing-task"}:
            expected.add(("header", "X-TASQUES-WORKER-ID", True))
        assert parameters == expected


async def test_what_recurring_tasks_are_asked_with_is_documented(document):
    found = {
        operation["operationId"]: {
            (parameter["in"], parameter["name"], parameter["required"])
            for parameter in operation.get("parameters", [])
        }
        for methods in document["paths"].values()
        for operation in methods.values()
        if operation["tags"] == ["recurring-tasks"]
    }

    in_path = ("path", "id", True)
    assert found == {
        "create-recurring-task": set(),
        "list-existing-recurring-tasks": set(),
        "get-existing-recurring-task": {in_path},
        "update-existing-recurring-task": {in_path},
        "delete-existing-recurring-task": {in_path},
        "preview-existing-recurring-task": {in_path, ("query", "count", False)},
        "run-existing-recurring-task": {in_path, ("header", "Idempotency-Key", False)},
    }


@pytest.mark.parametrize(
    ("users", "security"),
    [({}, [{"BasicAuth": []}, {}]), ({"anna": "secret"}, [{"BasicAuth": []}])],
)
async def test_what_is_for_users_says_so(client_with, users, security):
    async with client_with(users=users) as client:
        document = (await client.get("/openapi.json")).json()

    assert document["components"]["securitySchemes"] == {
        "BasicAuth": {"type": "http", "scheme": "basic"}
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            is_for_users = operation["tags"] != ["health"]
            assert operation.get("security") == (security if is_for_users else None)


async def test_the_document_names_no_host(document):
    assert document["servers"] == [{"url": "/"}]


def every_operation():
    modules = (operations, recurring_operations)
    return [
        each for module in modules for each in vars(module).values() if isinstance(each, Operation)
    ]


@pytest.mark.parametrize("operation", every_operation(), ids=lambda operation: operation.id)
def test_the_examples_are_right(operation):
    kinds = {
        "create-task": requests.NewTask,
        "claim-tasks": requests.Claim,
        "report-on-claimed-task": requests.NewReport,
        "mark-claimed-task-done": requests.Success,
        "mark-claimed-task-failed": requests.Failure,
        "create-tasks": requests.NewTaskBatch,
        "finish-tasks": requests.TaskResultBatch,
        "create-recurring-task": recurring_requests.NewRecurringTask,
        "update-existing-recurring-task": recurring_requests.RecurringTaskUpdate,
    }
    model = TypeAdapter(operation.model)
    dumped = model.dump_python(model.validate_python(operation.answer), exclude_unset=True)

    assert members(dumped) == members(operation.answer)
    assert (operation.request is not None) == (operation.id in kinds)
    if operation.request is not None:
        kinds[operation.id].read(operation.request)


def members(value):
    """The names in a JSON value, in their order, at every level."""
    if isinstance(value, dict):
        return [(name, members(child)) for name, child in value.items()]
    return [members(child) for child in value] if isinstance(value, list) else None


def test_the_example_of_a_new_task_can_be_enqueued():
    new = requests.NewTask.read(operations.create_task.request).to_domain(
        requests.RequestDefaults(), new_id=lambda: "t", now=datetime(2026, 3, 1, tzinfo=UTC)
    )

    assert new.processing_timeout == timedelta(minutes=5)


def test_the_document_is_the_same_in_every_process():
    tests = Path(__file__).parents[2]
    documents = {
        subprocess.run(
            [sys.executable, "-c", PRINT_THE_DOCUMENT],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tests)},
        ).stdout
        for seed in ("1", "2")
    }

    assert len(documents) == 1
    assert b"create-task" in documents.pop()


# ------------------------------------------------------------------ Swagger UI


@pytest.mark.parametrize("path", ["/docs", "/swagger/index.html"])
async def test_the_page_names_only_files_that_are_here(client, path):
    page = await client.get(path)
    links = re.findall(r'(?:src|href|data-document)="([^"]+)"', page.text)
    files = {str(page.url.join(link)) for link in links if not link.startswith("data:")}

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert len(files) == 4
    for file in files:
        assert file.startswith("http://tasques/")
        answer = await client.get(file)
        assert answer.status_code == 200
        if "/assets/" in file:
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"].partition(";")[0] in {
                "text/javascript",
                "text/css",
            }


async def test_the_document_is_also_where_the_original_had_it(client, document):
    assert (await client.get("/swagger/doc.json")).json() == document


def test_building_the_application_does_not_make_the_document(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr("tasques.api.app.api_document", fail)

    build()
