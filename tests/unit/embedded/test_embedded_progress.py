from __future__ import annotations

import io
import os

import pytest

from tasques.embedded.progress import Bar, Lines, Silence, progress_on
from tasques.embedded.waiting import Deadline, poll


def test_a_file_gets_a_line_for_each_phase_and_each_tenth():
    stream = io.StringIO()
    progress = progress_on(stream)

    progress.phase("fetching")
    for done in range(0, 1001, 50):
        progress.advance(done * 100_000, 100_000_000)
    progress.phase("starting")
    progress.close()

    lines = stream.getvalue().splitlines()
    assert lines[0] == "fetching ..."
    assert lines[1:11] == [f"fetching: {n} % of 100 MB" for n in range(10, 101, 10)]
    assert lines[11:] == ["starting ..."]


def test_a_length_that_is_not_known_is_not_divided_by():
    stream = io.StringIO()
    progress = Lines(stream)

    progress.phase("fetching")
    progress.advance(5, 0)

    assert stream.getvalue() == "fetching ...\n"


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo terminal: the stream to write on, and a function that gives what was shown."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    master, slave = os.openpty()
    with open(slave, "w") as stream, open(master, "rb", buffering=0) as screen:  # noqa: PTH123 -- descriptors
        os.set_blocking(master, False)
        text = bytearray()

        def shown():
            while chunk := screen.read(65536):
                text.extend(chunk)
            return text.decode(errors="replace")

        yield stream, shown


def test_a_terminal_gets_a_bar(terminal):
    stream, shown = terminal
    progress = progress_on(stream)

    progress.phase("fetching")
    progress.advance(50, 100)
    seen = poll(lambda: "50%" in shown() or None, Deadline(30))
    progress.close()

    assert isinstance(progress, Bar)
    assert seen
    assert "fetching" in shown()
    assert "━" in shown()


def test_a_bar_is_gone_when_closed_and_comes_again_with_the_next_phase(terminal):
    stream, shown = terminal
    progress = Bar(stream)

    progress.phase("first")
    progress.close()
    progress.close()
    closed = shown()
    progress.phase("second")
    progress.close()

    clear_line = "\x1b[2K"
    assert 0 < closed.rfind("first") < closed.rfind(clear_line)
    assert "second" in shown()


def test_silence_takes_everything():
    progress = Silence()

    progress.phase("x")
    progress.advance(1, 2)
    progress.close()
