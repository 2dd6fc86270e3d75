from __future__ import annotations

import json
from urllib.request import urlopen

import pytest
from chromium import chromium
from in_memory_api import serving_in_a_thread

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds; for the page, on a busy machine


@pytest.fixture(scope="module")
def server():
    """The address of a server without users."""
    with serving_in_a_thread() as url:
        yield url


@pytest.fixture(scope="module")
def protected_server():
    """The address of a server for one user."""
    with serving_in_a_thread(users={"júlia": "contrasenya: 1"}) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    """A page that fails the test if it reports an error, or asks for something from elsewhere."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    errors = []
    addresses = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    yield page
    origin = page.evaluate("location.origin")
    page.close()
    assert errors == []
    assert [each for each in addresses if not each.startswith((origin, "data:", "blob:"))] == []


def create_a_task(page):
    """Press what a user presses; returns the status that the page shows."""
    block = page.locator("#operations-tasks-create-task")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    status = block.locator(".live-responses-table tbody .response-col_status")
    status.wait_for()
    return status.inner_text()


@pytest.mark.parametrize("path", ["/docs", "/swagger/index.html"])
def test_the_page_shows_every_operation(page, server, path):
    """Whatever the API document describes is on the page, which needs no other site."""
    with urlopen(f"{server}/openapi.json") as answer:
        document = json.load(answer)
    operations = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }

    page.goto(server + path)
    page.locator(".opblock").first.wait_for()

    assert set(page.locator(".opblock-summary-operation-id").all_inner_texts()) == operations
    assert page.locator(".opblock").count() == len(operations)


def test_a_task_can_be_created_from_the_page(page, server):
    """ "Try it out" sends the example, and it is a task."""
    page.goto(f"{server}/docs")

    assert create_a_task(page) == "201"


def test_a_user_can_create_a_task_from_the_page_of_a_protected_server(page, protected_server):
    """The page is open, and asks for what the operations need."""
    page.goto(f"{protected_server}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("Username").fill("júlia")
    page.get_by_label("Password").fill("contrasenya: 1")
    page.get_by_label("Apply credentials").click()
    page.get_by_role("button", name="Close").click()

    assert create_a_task(page) == "201"
