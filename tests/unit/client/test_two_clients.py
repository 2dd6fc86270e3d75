"""The two clients are one, but for `await`."""

from __future__ import annotations

import inspect
import subprocess
import sys

from tasques.client import AsyncClient, Client

SERVER = ("elasticsearch", "fastapi", "pydantic", "starlette", "uvicorn", "aiohttp")


def methods(client):
    return {
        name: (str(inspect.signature(method)), inspect.getdoc(method))
        for name, method in vars(client).items()
        if inspect.isfunction(method) and not name.startswith("__")
    }


def test_both_have_the_same_methods():
    assert methods(Client) == methods(AsyncClient)
    assert all(
        inspect.iscoroutinefunction(getattr(AsyncClient, name)) for name in methods(AsyncClient)
    )


def test_nothing_of_the_server_is_imported():
    code = f"import sys, tasques.client.testing, tasques.worker; print([m for m in {SERVER} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
