"""One server process: HTTP and the loops beside it, living and dying together."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import uvicorn
import uvloop

from tasques.acceptor import Acceptor, ConnectionCounts, SharedPort
from tasques.bootstrap import Application, application
from tasques.clock import SystemClock
from tasques.domain.errors import StoreUnavailableError
from tasques.http_protocol import OnePacketProtocol
from tasques.metrics import NoDirectoryError, shared_metrics
from tasques.repository.setup_errors import SetupError
from tasques.services.slots import ServerProcess
from tasques.settings import BindAddress, ServerSettings
from tasques.stopping import Stop, ignore_signals
from tasques.supervisor import START_FAILED, Supervisor
from tasques.unique import UniqueMarks

log = logging.getLogger(__name__)

_GARBAGE_THRESHOLDS: Final = (20_000, 20, 50)
_BACKLOG: Final = 4096
_KEEP_ALIVE: Final = 75  # seconds; longer than clients and proxies keep a connection unused
_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 5.0
_PATIENCE: Final = 60.0  # seconds for an Elasticsearch that is still starting
_PATIENCE_IF_REFUSED: Final = 5.0  # ... which knows its users a little later than it answers
_PART_FOR_REQUESTS: Final = 0.6  # of the time for stopping; the rest is for what is to be written


class StartError(Exception):
    """The server can not start; the message says what to do."""


class _HttpServer(uvicorn.Server):
    """Uvicorn with our connections, and without signals, so that there is a life after `serve`."""

    def __init__(
        self,
        config: uvicorn.Config,
        port: SharedPort,
        *,
        on_started: Callable[[], None],
        is_leaving: Callable[[], bool],
    ) -> None:
        super().__init__(config)
        self._port = port
        self._on_started = on_started
        self._is_leaving = is_leaving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        create_protocol = partial(
            OnePacketProtocol,
            config=self.config,
            server_state=self.server_state,
            app_state={},
            is_leaving=self._is_leaving,
        )
        acceptor = Acceptor(self._port, create_protocol, self.server_state.connections)
        self.servers.append(acceptor)  # type: ignore[arg-type]  # it has what is used of one
        self._on_started()

    def leave(self) -> None:
        """Have clients that wait for an answer make another connection for their next request."""
        for connection in self.server_state.connections:
            if isinstance(connection, OnePacketProtocol):
                connection.leave()


def listen(address: BindAddress) -> socket.socket:
    """Open the port to listen on; port 0 takes any free one.

    Raises:
        StartError: it can not be had.
    """
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise StartError(f"Can not listen on {address}: {error.strerror or error}.") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a client finds what listens there, as `http://host:port`."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: ServerSettings,
    listener: socket.socket,
    *,
    set_up: bool = False,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM; the process is to end then, and ignores further ones.

    With more than one worker in the settings, that many processes serve.

    Args:
        settings: of this server.
        listener: an open socket; it is closed in the end.
        set_up: whether to set Elasticsearch up first. Several servers may do so at once.
        on_started: called once requests are taken.

    Raises:
        StartError: Elasticsearch can not be reached or is not set up.
        SystemExit: with code 1, after a bug that ended the server.
    """
    mark = UniqueMarks()()
    process_ids = [f"{mark}-{number:03}" for number in range(settings.workers)]
    counts = ConnectionCounts(settings.workers)

    def serve_as(number: int, on_started: Callable[[], None]) -> None:
        process = ServerProcess(process_ids[number], siblings=process_ids)
        port = SharedPort(listener, counts, number)
        _serve_here(settings, process, port, on_started, set_up=set_up)

    if settings.workers == 1:
        serve_as(0, on_started)
        return

    def work(number: int, tell_started: Callable[[], None]) -> int:
        try:
            serve_as(number, tell_started)
        except StartError as error:
            log.error(str(error))  # noqa: TRY400 - the message is for people
            return START_FAILED
        return 0

    grace = (settings.drain_delay + settings.shutdown_timeout).total_seconds()
    try:
        with shared_metrics(settings.metrics) as forget:
            code = Supervisor(
                count=settings.workers,
                work=work,
                grace=grace,
                on_started=on_started,
                on_ended=forget,
            ).run()
    except NoDirectoryError as error:
        raise StartError(str(error)) from error
    listener.close()
    if code:
        raise StartError("The server processes can not be kept running: see the log.")


def _serve_here(
    settings: ServerSettings,
    process: ServerProcess,
    port: SharedPort,
    on_started: Callable[[], None],
    *,
    set_up: bool,
) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(settings, process, port, on_started, set_up=set_up))
    except ExceptionGroup as group:
        # Half a server would be worse than none.
        for error in _errors_in(group):
            log.critical("the server ends because a part of it failed", exc_info=error)
        raise SystemExit(1) from None
    finally:
        ignore_signals()


def _errors_in(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """What really went wrong: not every log format shows what is in a group."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _errors_in(error)
        else:
            yield error


async def _until_signalled(
    settings: ServerSettings,
    process: ServerProcess,
    port: SharedPort,
    on_started: Callable[[], None],
    *,
    set_up: bool,
) -> None:
    stop = Stop()
    try:
        async with application(settings, process) as built:
            if await _is_set_up(built, stop.told, set_up=set_up):
                await _serve(settings, built, port, on_started, stop)
    finally:
        port.listener.close()


async def _is_set_up(built: Application, stop: asyncio.Event, *, set_up: bool) -> bool:
    """Wait for an Elasticsearch that is still starting; False if told to stop meanwhile."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    pause = _FIRST_WAIT
    while not stop.is_set():
        try:
            problems = await built.setup_problems()
            if set_up:
                problems = await _set_up(built, stop)
        except (SetupError, StoreUnavailableError) as error:
            refused = isinstance(error, SetupError)
            if loop.time() - begun > (_PATIENCE_IF_REFUSED if refused else _PATIENCE):
                raise StartError(str(error)) from error
            log.warning("waiting for Elasticsearch", extra={"reason": str(error)})
            await _wait(stop, pause)
            pause = min(pause * 2, _LONGEST_WAIT)
            continue
        if problems:
            raise StartError(
                "\n".join([*problems, "Elasticsearch is not set up: run `tasques setup`."])
            )
        return not stop.is_set()
    return False


async def _set_up(built: Application, stop: asyncio.Event) -> list[str]:
    """Set Elasticsearch up, unless told to stop; returns what is wrong after it."""
    work = asyncio.ensure_future(built.setup())
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
    for each in (work, told):
        each.cancel()
    await asyncio.gather(work, told, return_exceptions=True)
    if work.cancelled():  # whoever sets up next goes on where this one was
        return []
    report = work.result()
    changes = [*report.created, *report.repaired, *report.upgraded]
    log.info("Elasticsearch is set up", extra={"changes": changes})
    return await built.setup_problems()


async def _serve(
    settings: ServerSettings,
    built: Application,
    port: SharedPort,
    on_started: Callable[[], None],
    stop: Stop,
) -> None:
    seconds = settings.shutdown_timeout.total_seconds()
    config = uvicorn.Config(
        built.asgi,
        http=OnePacketProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",  # we say ourselves that we listen and stop
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        # Whole seconds by its annotation only.
        timeout_graceful_shutdown=seconds,  # type: ignore[arg-type]
    )

    def started() -> None:
        _spare_the_garbage_collector()
        log.info("listening", extra={"address": address_of(port.listener)})
        on_started()

    def takes_part() -> bool:
        """Not while it leaves: the others need not let it go first any more."""
        return built.broker.is_active and not built.is_stopping

    server = _HttpServer(config, port, on_started=started, is_leaving=stop.told.is_set)
    async with asyncio.TaskGroup() as group:
        background = group.create_task(built.background.run(), name="background")
        loops = [
            background,
            group.create_task(built.broker.run(), name="claim broker"),
            group.create_task(built.presence.run(takes_part), name="presence"),
            group.create_task(built.watch(), name="figures"),
            group.create_task(
                _stop_when_told(settings, stop, server, built, background), name="stop"
            ),
        ]
        await server.serve(sockets=[])
        for loop in loops:
            loop.cancel()
    await built.finish(seconds * (1 - _PART_FOR_REQUESTS))
    log.info("stopped")


def _spare_the_garbage_collector() -> None:
    """Have it look at requests only, and not so often: it costs a twentieth of a request."""
    gc.collect()
    gc.freeze()  # modules, routes, the API document: they stay
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


async def _stop_when_told(
    settings: ServerSettings,
    stop: Stop,
    server: _HttpServer,
    built: Application,
    background: asyncio.Task[None],
) -> None:
    await stop.told.wait()
    log.info("stopping")
    built.is_stopping = True
    server.leave()
    # The next leader need not wait for the last request.
    background.cancel()
    # Whoever distributes requests has to see that none should come here any more.
    await stop.wait_unless_hurried(settings.drain_delay.total_seconds())
    server.should_exit = True
    seconds = settings.shutdown_timeout.total_seconds()
    # Claims that wait would use up the time that there is for stopping.
    built.broker.close()
    # So would requests for which Elasticsearch has no answer: they get one from us in the end.
    await SystemClock().sleep(seconds * _PART_FOR_REQUESTS)
    await built.finish(seconds * (1 - _PART_FOR_REQUESTS))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
