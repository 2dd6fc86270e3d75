"""Workers: functions that work on tasks.

Needs httpx (`pip install 'tasques[client]'`) and nothing of the server::

    worker = Worker(AsyncClient("http://localhost:8080"), queues=["mails"])

    @worker.handler("welcome")
    async def welcome(context: Context) -> JsonObject:
        return {"message_id": await send_mail(context.args["to"])}

    worker.main()

or, with that in `mails.py` but for the last line, `tasques worker --app mails:worker`.
"""

from tasques.worker.context import Context
from tasques.worker.errors import CancelledByWorker, RetryLater, Unclaim
from tasques.worker.handlers import Handler, UnknownKindError
from tasques.worker.worker import Worker

__all__ = [
    "CancelledByWorker",
    "Context",
    "Handler",
    "RetryLater",
    "Unclaim",
    "UnknownKindError",
    "Worker",
]
