"""The page: `uvicorn examples.ciphers.web:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from elasticsearch import Elasticsearch
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, StringConstraints

from examples.ciphers import settings
from examples.ciphers.ciphers import CIPHERS, QUEUE
from examples.ciphers.messages import Message, Messages
from tasques.client import Client, NewTask, TasquesError

PAGE = Path(__file__).with_name("page.html")

messages = Messages(Elasticsearch(settings.elasticsearch_url))
tasques = Client(settings.tasques_url)


class NewMessage(BaseModel):
    """What is typed in."""

    plain: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    messages.prepare()
    yield
    tasques.close()


app = FastAPI(title="Messages and their ciphers", lifespan=_lifespan)


@app.exception_handler(RequestValidationError)
async def _refuse(_: Request, error: RequestValidationError) -> JSONResponse:
    # Not with what was sent, as FastAPI does: that may be no text that can be written.
    problems = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(problems)}, status_code=400)


@app.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The page itself, which asks for the rest."""
    return FileResponse(PAGE)


@app.get("/messages")
def show_messages() -> list[Message]:
    """The newest messages, with what the workers have done so far."""
    return messages.latest()


@app.post("/messages", status_code=201)
def add_message(new: NewMessage) -> dict[str, str]:
    """Store a message, and enqueue a task for each cipher."""
    message_id = messages.add(new.plain)
    try:
        tasques.enqueue_many(
            NewTask(QUEUE, kind, {"message_id": message_id}, id=f"{message_id}-{kind}")
            for kind in CIPHERS
        )
    except TasquesError as error:
        raise HTTPException(503, f"stored, but not all of its tasks are: {error}") from error
    return {"id": message_id}
