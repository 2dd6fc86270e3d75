"""Telling somebody at a terminal, or a log, how far the start has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    import rich.progress


class Progress(Protocol):
    """Who is told."""

    def phase(self, text: str) -> None:
        """A new phase begins, named by a few words."""
        ...

    def advance(self, done: int, total: int) -> None:
        """Of this phase `done` of `total` bytes are done."""
        ...

    def close(self) -> None:
        """Nothing is under way any more; a new phase may still begin later."""
        ...


class Silence:
    """Tells nobody."""

    def phase(self, text: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """A line for each phase, and for each tenth of one that can be measured."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._tenth = 0

    def phase(self, text: str) -> None:
        """Write the phase."""
        self._text, self._tenth = text, 0
        self._write(f"{text} ...")

    def advance(self, done: int, total: int) -> None:
        """Write it when another tenth is done."""
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth:
            self._tenth = tenth
            self._write(f"{self._text}: {tenth * 10} % of {total / 1e6:.0f} MB")

    def close(self) -> None:
        """Nothing is left to do."""

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class Bar:
    """A bar or a spinner on a terminal, gone when its phase is over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._display: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None

    def phase(self, text: str) -> None:
        """Show the phase in the place of the one before."""
        if self._display is None:
            self._display = _rich_display(self._stream)
            self._display.start()
        if self._task is not None:
            self._display.remove_task(self._task)
        self._task = self._display.add_task(text, total=None)

    def advance(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the display away, so that the terminal is free for others."""
        if self._display is not None:
            if self._task is not None:
                self._display.remove_task(self._task)
            self._display.stop()
        self._display = self._task = None


def _rich_display(stream: TextIO) -> rich.progress.Progress:
    from rich import console, progress  # noqa: PLC0415 -- slow to import, rarely needed

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        console=console.Console(file=stream),
        transient=True,
    )


def progress_on(stream: TextIO) -> Progress:
    """The fitting one: a bar on a terminal, lines elsewhere."""
    return Bar(stream) if stream.isatty() else Lines(stream)
