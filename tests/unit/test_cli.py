from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tasques import cli
from tasques.embedded import PortTakenError, require_free
from tasques.repository.setup_report import SetupReport
from tasques.server import StartError, address_of, listen
from tasques.settings import BindAddress, ServerSettings

LOOPBACK = "127.0.0.1"


@pytest.fixture(autouse=True)
def _signals():
    """What the command line does to signals is undone."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """Nobody's settings are found."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def tasques(monkeypatch, capsys):
    """Run a command in this process; returns the exit code, and what was written and complained."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tasques", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        else:
            code = 0
        return (code or 0, *capsys.readouterr())

    return run


def test_a_mistake_in_the_settings_is_a_failure_and_no_traceback(tasques):
    Path("tasques.yaml").write_text("tasques: {server: {taks: {}}}")

    code, written, complained = tasques("config", "check")

    assert (code, written) == (1, "")
    assert "tasques.server.taks" in complained


def test_a_file_that_was_found_is_named(tasques):
    Path("config").mkdir()
    Path("config/tasques.yaml").write_text("tasques: {server: {workers: 1}}")

    assert tasques("config", "check") == (0, "The settings are good (config/tasques.yaml).\n", "")


def test_a_setting_without_effect_is_named(tasques):
    Path("tasques.yaml").write_text("tasques: {server: {tasks: {queues: {size: 1}}}}")

    code, _, complained = tasques("config", "check")

    assert code == 0
    assert "tasques.server.tasks.queues has no effect" in complained


def test_a_log_file_that_can_not_be_written_is_a_failure(tasques):
    Path("tasques.yaml").write_text("tasques: {server: {logging: {file: /proc/none/log}}}")

    code, _, complained = tasques("setup")

    assert code == 1
    assert complained.startswith("Can not write the log file /proc/none/log: ")


def test_options_that_exclude_each_other_are_wrong_usage(tasques):
    code, _, complained = tasques("dev", "--ephemeral", "--data", "here")

    assert code == 2
    assert "--data" in complained


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_only_the_first_signal_disturbs(number):
    cli._end_on_signals()

    with pytest.raises(cli._Stopped):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_default_port_gives_way(monkeypatch, capsys, taken):
    monkeypatch.setattr(cli, "_DEFAULT_PORT", taken)

    with closing(cli._listen(LOOPBACK, None)) as listener:
        port = listener.getsockname()[1]

    assert port != taken
    assert capsys.readouterr().err == f"Port {taken} is taken: using {port}.\n"


def test_a_port_that_was_asked_for_does_not_give_way(taken):
    with pytest.raises(StartError, match=str(taken)):
        cli._listen(LOOPBACK, taken)


def test_the_default_port_of_elasticsearch_gives_way(monkeypatch, capsys, taken):
    monkeypatch.setattr(cli, "_DEFAULT_ELASTICSEARCH_PORT", taken)

    assert cli._elasticsearch_port(None) == 0
    assert str(taken) in capsys.readouterr().err


def test_a_port_of_elasticsearch_that_was_asked_for_is_not_looked_at_yet(taken):
    assert cli._elasticsearch_port(taken) == taken
    with pytest.raises(PortTakenError):
        require_free(taken)


def test_for_development_the_settings_lead_to_the_embedded_elasticsearch():
    given = ServerSettings.model_validate(
        {
            "elasticsearch": {
                "addresses": ["https://elsewhere:9200"],
                "user": {"name": "user", "password": "secret"},
                "ca_file": "/ca.pem",
                "replicas": 2,
                "index_prefix": "mine",
            },
            "tasks": {"defaults": {"retry_times": 3}},
        }
    )

    settings = cli._for_development(given, ["http://127.0.0.1:9200"])

    store = settings.elasticsearch
    assert store.addresses == ("http://127.0.0.1:9200",)
    assert (store.user, store.api_key, store.ca_file, store.replicas) == (None, None, None, 0)
    assert store.index_prefix == "mine"
    assert settings.tasks == given.tasks


def test_a_set_up_tells_what_it_did():
    report = SetupReport(created=["index a", "alias b"], upgraded=["template c"])

    assert cli._described(report) == "created: index a\ncreated: alias b\nupgraded: template c"


def test_a_set_up_that_did_nothing_says_so():
    assert cli._described(SetupReport(unchanged=["index a"])) == "Everything was there already."


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.mark.parametrize(
    ("host", "shown"),
    [(LOOPBACK, "127.0.0.1"), pytest.param("::1", "[::1]", marks=NEEDS_IPV6)],
)
def test_an_address_is_told_as_a_browser_takes_it(host, shown):
    with closing(listen(BindAddress(host, 0))) as listener:
        assert address_of(listener) == f"http://{shown}:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["host.invalid", "192.0.2.1"])
def test_where_nobody_can_listen_is_said(host):
    with pytest.raises(StartError, match=host):
        listen(BindAddress(host, 0))
