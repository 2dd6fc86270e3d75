"""Start everything: an Elasticsearch, a server, workers, and the page.

    python -m examples.ciphers [--workers 3] [--failures 0.5]

Ctrl-C ends all of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType

from examples.ciphers import settings

HERE = "127.0.0.1"
ROOT = Path(__file__).parents[2]
TASQUES = str(Path(sys.executable).with_name("tasques"))
PAUSE = 0.2  # seconds
START_PATIENCE = 600.0  # seconds; the first start fetches an Elasticsearch
STOP_PATIENCE = 30.0


class _Stopped(BaseException):
    """Ctrl-C, or SIGTERM."""


class _EndedError(Exception):
    """A part has ended that should not."""


def main() -> None:
    """Run until Ctrl-C, or until a part of it ends by itself."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        with ExitStack() as stack:
            _run(stack, arguments)
    except _Stopped:
        pass
    except _EndedError as error:
        sys.exit(f"{error}: it ended by itself")


def _run(stack: ExitStack, arguments: argparse.Namespace) -> None:
    page, tasques, elasticsearch = arguments.port or _free_port(9000), _free_port(), _free_port()
    environment = {
        settings.TASQUES: f"http://{HERE}:{tasques}",
        settings.ELASTICSEARCH: f"http://{HERE}:{elasticsearch}",
        settings.FAILURES: str(arguments.failures),
        settings.PAUSE: str(arguments.pause),
    }
    ports = ("--port", str(tasques), "--elasticsearch-port", str(elasticsearch))
    server = [TASQUES, "dev", *ports, *(["--ephemeral"] if arguments.ephemeral else [])]
    parts = {"the server": stack.enter_context(_part(server, environment))}
    _wait_until_ready(parts, tasques, "/health/ready")
    web = [sys.executable, "-m", "uvicorn", "examples.ciphers.web:app", "--log-level", "warning"]
    web += ["--host", HERE, "--port", str(page)]
    parts["the page"] = stack.enter_context(_part(web, environment))
    worker = [TASQUES, "worker", "--app", "examples.ciphers.worker:worker"]
    for number in range(1, arguments.workers + 1):
        parts[f"worker {number}"] = stack.enter_context(_part(worker, environment))
    _wait_until_ready(parts, page, "/messages")
    print(f"\n  The page    http://{HERE}:{page}\n\nCtrl-C ends everything.", flush=True)
    while True:
        _expect_all(parts)
        time.sleep(PAUSE)


@contextmanager
def _part(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    # In a session of its own, so that Ctrl-C reaches this process alone, which ends the others
    # in their order.
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(parts: Mapping[str, subprocess.Popen[bytes]], port: int, path: str) -> None:
    until = time.monotonic() + START_PATIENCE
    while not _is_good(port, path):
        _expect_all(parts)
        if time.monotonic() > until:
            sys.exit(f"not ready in {START_PATIENCE:.0f} s: http://{HERE}:{port}{path}")
        time.sleep(PAUSE)


def _expect_all(parts: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, process in parts.items():
        if process.poll() is not None:
            raise _EndedError(name)


def _is_good(port: int, path: str) -> bool:
    with closing(HTTPConnection(HERE, port, timeout=5.0)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def _free_port(wanted: int = 0) -> int:
    """The wanted port if it is free, else another."""
    for port in (wanted, 0):
        try:
            with closing(socket.create_server((HERE, port))) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise SystemExit("no port is free")


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end is in order, whoever is impatient
    raise _Stopped


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.ciphers", description="Messages, ciphered by workers."
    )
    parser.add_argument("--port", type=int, help="of the page; 9000, or a free one")
    parser.add_argument("--workers", type=int, default=3, help="how many processes (3)")
    parser.add_argument("--failures", type=float, default=0.0, help="share of attempts (0)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds of an attempt (1)")
    parser.add_argument("--ephemeral", action="store_true", help="keep no data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
