"""How a client is generated, built and run in each language."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

Command = tuple[str, ...]

CIPHERS = Path(__file__).parents[1] / "examples" / "ciphers"
WORKER_HEADER = "X-TASQUES-WORKER-ID"
# Go's `NewTask` would be the constructor of `Task` and the request to make one.
GO_NAMES = {
    "NewTask": "TaskDraft",
    "NewRecurringTask": "RecurringTaskDraft",
    "NewReport": "ReportDraft",
}


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        generator: its name in openapi-generator.
        tools: the programs that it needs.
        client: where the client goes, below the folder that it is built in.
        source: where the program of the check goes, if elsewhere than in that folder.
        options: the generator's, for a client that is natural to use and lasts.
        models: what schemas are called in it, if not as in the document.
        example: a folder with a worker of the ciphers example, if there is one.
        run_example: the command that runs it.
        worker_id: what it calls the parameter that names the worker.
        build: commands that compile client and program.
        run: the command that runs the program; the server's address, a user and the password are
            put after it.
    """

    name: str
    generator: str
    tools: tuple[str, ...]
    build: tuple[Command, ...]
    run: Command
    client: str = "client"
    source: str = "."
    options: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    example: Path | None = None
    run_example: Command = ()
    worker_id: str = "workerId"

    def missing(self) -> list[str]:
        """Which of its tools are not here."""
        return [tool for tool in self.tools if shutil.which(tool) is None]

    def generate(self, generator: Path, document: Path, folder: Path) -> Command:
        """The command that writes the client."""
        return (
            str(generator),
            "generate",
            *("-i", str(document), "-g", self.generator, "-o", str(folder / self.client)),
            *("--parameter-name-mappings", f"{WORKER_HEADER}={self.worker_id}"),
            *(("--model-name-mappings", ",".join(self.models)) if self.models else ()),
            *(("--additional-properties", ",".join(self.options)) if self.options else ()),
            *("--global-property", "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"),
        )


LANGUAGES = (
    Language(
        name="go",
        generator="go",
        tools=("go",),
        # Its own decoding of JSON refuses members that a later server adds.
        options=("packageName=tasques", "generateUnmarshalJSON=false", "enumClassPrefix=true"),
        models=tuple(f"{schema}={name}" for schema, name in GO_NAMES.items()),
        build=(("go", "vet", "./..."), ("go", "build", "-o", "bin/", "./...")),
        run=("bin/life",),
        example=CIPHERS / "go",
        run_example=("bin/ciphers",),
    ),
    Language(
        name="typescript",
        generator="typescript-fetch",
        tools=("node", "npm"),
        build=(
            ("npm", "ci", "--no-audit", "--no-fund"),
            ("node", "node_modules/typescript/bin/tsc"),
        ),
        run=("node", "dist/life.js"),
    ),
    Language(
        name="java",
        generator="java",
        tools=("javac", "mvn"),
        client=".",
        source="src/main/java",
        options=(
            "library=native",
            "openApiNullable=false",
            "hideGenerationTimestamp=true",
            "invokerPackage=tasques",
            "apiPackage=tasques.api",
            "modelPackage=tasques.model",
        ),
        build=(("mvn", "-q", "-B", "compile", "dependency:copy-dependencies"),),
        run=("java", "-cp", "target/classes:target/dependency/*", "Life"),
    ),
    Language(
        name="rust",
        generator="rust",
        tools=("cargo",),
        options=("packageName=tasques",),
        worker_id="worker_id",
        build=(("cargo", "build", "--quiet"),),
        run=("target/debug/life",),
    ),
)
