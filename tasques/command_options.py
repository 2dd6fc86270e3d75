"""What several commands have in common. Typer reads it, so it knows no server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings; else tasques.yaml in ., ./config or /app/config, if there is one.",
    ),
]
