"""Lines that change, and colours: on a terminal only."""

from __future__ import annotations

import io

import pytest

from lapdev.client.terminal import Ticker, has_colours, is_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")


def test_a_line_that_stays_pushes_the_changing_one_away() -> None:
    terminal = Terminal()
    with Ticker(terminal) as ticker:
        ticker.show("waiting for a and b and c")
        ticker.say("a: ready")
        ticker.show("waiting for b")
    assert terminal.getvalue() == (
        "\r\x1b[2Kwaiting for a and b"[:24]
        + "\r\x1b[2Ka: ready\n"
        + "\r\x1b[2Kwaiting for b"
        + "\r\x1b[2K"
    )


def test_a_pipe_gets_the_lines_that_stay() -> None:
    pipe = io.StringIO()
    with Ticker(pipe) as ticker:
        ticker.show("waiting")
        ticker.say("a: ready")
    assert pipe.getvalue() == "a: ready\n"


@pytest.mark.parametrize(
    ("environ", "terminal", "colours"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
    ],
)
def test_what_a_terminal_can(environ: dict[str, str], terminal: bool, colours: bool) -> None:
    assert is_terminal(Terminal(), environ) is terminal
    assert has_colours(Terminal(), environ) is colours
    assert not has_colours(io.StringIO(), environ)
