"""The command line. Exit codes: 0 good, 1 failure, 2 wrong usage."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer
import yaml

from tasques.bootstrap import run_setup
from tasques.command_options import ConfigFile
from tasques.dashboards import import_dashboards
from tasques.domain.errors import TasquesError
from tasques.embedded import (
    Cluster,
    EmbeddedError,
    PortTakenError,
    data_dir,
    progress_on,
    require_free,
)
from tasques.healthcheck import healthcheck
from tasques.kibana.connection import KibanaError
from tasques.observability import logs
from tasques.repository.setup_errors import SetupError
from tasques.repository.setup_report import SetupReport
from tasques.server import StartError, address_of, listen, serve
from tasques.settings import (
    BindAddress,
    LoadedSettings,
    ServerSettings,
    SettingsError,
    load,
    masked,
)

_DEFAULT_PORT: Final = 8080
_DEFAULT_ELASTICSEARCH_PORT: Final = 9200
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    help="Task queues over a REST API, stored in Elasticsearch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Show or check the settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.command()(healthcheck)

Port = typer.Option(min=1, max=65535, metavar="PORT")


class _Stopped(BaseException):
    """A signal came while nobody else was there to take it."""


@app.command()
def dev(
    *,
    port: Annotated[int | None, Port] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    elasticsearch_port: Annotated[int | None, Port] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep nothing: use data of its own, once.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Where to keep data, else in the user's directory."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Run everything on this machine: an Elasticsearch, its set-up, and a server.

    The default ports (8080 and 9200) give way to free ones when they are taken.
    """
    if ephemeral and data is not None:
        raise typer.BadParameter(
            "It can not be used together with --data.", param_hint="--ephemeral"
        )
    loaded = _load(config)
    _configure_logs(loaded)
    listener = _listen(host, port)
    cluster = Cluster(
        base=None if ephemeral else data or data_dir(os.environ, os.geteuid()),
        http_port=_elasticsearch_port(elasticsearch_port),
        progress=progress_on(sys.stderr),
    )
    with cluster:
        settings = _for_development(loaded.settings, cluster.urls)
        asyncio.run(run_setup(settings))
        serve(settings, listener, on_started=lambda: _say_where(listener, cluster.urls[0]))


@app.command()
def server(
    config: ConfigFile = None,
    *,
    set_up: Annotated[
        bool, typer.Option("--setup", help="Do first what `tasques setup --skip-kibana` does.")
    ] = False,
) -> None:
    """Run a server on an Elasticsearch that `tasques setup` has prepared."""
    loaded = _load(config)
    _configure_logs(loaded)
    serve(loaded.settings, listen(loaded.settings.bind_address), set_up=set_up)


@app.command()
def setup(
    config: ConfigFile = None,
    *,
    skip_kibana: Annotated[
        bool, typer.Option("--skip-kibana", help="Leave Kibana as it is.")
    ] = False,
    only_kibana: Annotated[
        bool, typer.Option("--only-kibana", help="Leave Elasticsearch as it is.")
    ] = False,
) -> None:
    """Make, repair or upgrade what Tasques needs in Elasticsearch. May be repeated.

    Where the settings name a Kibana, the dashboards are imported into it after that.
    """
    if skip_kibana and only_kibana:
        raise typer.BadParameter(
            "It can not be used together with --skip-kibana.", param_hint="--only-kibana"
        )
    loaded = _load(config)
    _configure_logs(loaded)
    try:
        if not only_kibana:
            typer.echo(_described(asyncio.run(run_setup(loaded.settings))))
        if not skip_kibana:
            _import_dashboards(loaded.settings, is_all=only_kibana)
    except _Stopped:  # a script that goes on with `tasques server` must not
        _fail("Stopped before the set-up was complete: run it again.")


@app.command()
def worker(
    *,
    app: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="Where a tasques.worker.Worker is.")
    ],
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many tasks at a time, else as the program says.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Begin anew when a Python file here changes.")
    ] = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C; a second one gives running tasks back at once."""
    try:
        from tasques.worker import command  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError as error:
        _fail(f"There is no {error.name}: pip install 'tasques[client]'.")
    try:
        command.run(app, concurrency=concurrency, reload=reload)
    except command.AppError as error:
        _fail(str(error))


@config_app.command()
def show(config: ConfigFile = None) -> None:
    """Print the effective settings, without secrets."""
    typer.echo(yaml.safe_dump(masked(_load(config).settings), sort_keys=False, allow_unicode=True))


@config_app.command()
def check(config: ConfigFile = None) -> None:
    """Tell whether the settings are right, and what is wrong with them."""
    source = _load(config).source
    typer.echo(f"The settings are good ({source or 'no file: defaults and environment'}).")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(installed_version("tasques"))


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM end it in order, with exit code 0."""
    _end_on_signals()
    try:
        app()
    except (SettingsError, SetupError, StartError, TasquesError, EmbeddedError) as error:
        _fail(str(error))
    except _Stopped:
        typer.echo("stopped", err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(1)


def _described(report: SetupReport) -> str:
    done = {"created": report.created, "repaired": report.repaired, "upgraded": report.upgraded}
    lines = [f"{verb}: {each}" for verb, things in done.items() for each in things]
    return "\n".join(lines or ["Everything was there already."])


def _import_dashboards(settings: ServerSettings, *, is_all: bool) -> None:
    try:
        where = asyncio.run(import_dashboards(settings))
    except KibanaError as error:
        rest = "" if is_all else "\nElasticsearch is set up; --skip-kibana leaves Kibana alone."
        _fail(f"{error}{rest}")
    if where is not None:
        typer.echo(f"imported: {where}")
    elif is_all:
        _fail("The settings name no Kibana: set kibana.address.")


def _load(config: Path | None) -> LoadedSettings:
    loaded = load(config, os.environ)
    for warning in loaded.warnings:
        typer.echo(warning, err=True)
    return loaded


def _configure_logs(loaded: LoadedSettings) -> None:
    logging = loaded.settings.logging
    try:
        logs.configure(level=logging.level, format=logging.format, file=logging.file)
    except OSError as error:
        _fail(f"Can not write the log file {logging.file}: {error.strerror or error}.")


def _end_on_signals() -> None:
    """Raise `_Stopped` at the first signal; what ends because of it is not disturbed by more."""

    def stop(_: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise _Stopped

    for number in _SIGNALS:
        signal.signal(number, stop)


def _listen(host: str, port: int | None) -> socket.socket:
    try:
        return listen(BindAddress(host, port or _DEFAULT_PORT))
    except StartError:
        if port is not None:
            raise
    listener = listen(BindAddress(host, 0))
    typer.echo(f"Port {_DEFAULT_PORT} is taken: using {listener.getsockname()[1]}.", err=True)
    return listener


def _elasticsearch_port(port: int | None) -> int:
    if port is not None:
        return port
    try:
        require_free(_DEFAULT_ELASTICSEARCH_PORT)
    except PortTakenError:
        typer.echo(
            f"Port {_DEFAULT_ELASTICSEARCH_PORT} is taken: Elasticsearch uses a free one.", err=True
        )
        return 0
    return _DEFAULT_ELASTICSEARCH_PORT


def _for_development(settings: ServerSettings, addresses: list[str]) -> ServerSettings:
    """The settings with the embedded Elasticsearch, which is one node without security."""
    store = settings.elasticsearch.model_copy(
        update={
            "addresses": tuple(addresses),
            "user": None,
            "api_key": None,
            "ca_file": None,
            "replicas": 0,
        }
    )
    return settings.model_copy(update={"elasticsearch": store})


def _say_where(listener: socket.socket, elasticsearch: str) -> None:
    address = address_of(listener)
    typer.echo(
        f"\n  API            {address}/tasques"
        f"\n  Swagger UI     {address}/docs"
        f"\n  Elasticsearch  {elasticsearch}"
        "\n\n  Ctrl-C ends everything.\n"
    )
