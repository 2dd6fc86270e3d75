"""Where `tasques` and `python -m tasques` begin."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a health check without what only the other commands need."""
    if sys.argv[1:2] == ["healthcheck"] and "--help" not in sys.argv:
        import typer  # noqa: PLC0415 - the other commands import their own

        from tasques.healthcheck import healthcheck  # noqa: PLC0415 - as above

        del sys.argv[1]
        typer.run(healthcheck)
    else:
        from tasques import cli  # noqa: PLC0415 - it takes most of a second

        cli.main()


if __name__ == "__main__":
    main()
