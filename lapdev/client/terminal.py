"""What a person at a terminal gets beyond plain lines: one line that changes, and colours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import TextIO

import click

_CLEAR = "\r\x1b[2K"
COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red")


class Ticker:
    """Lines of progress on standard error and, on a terminal, one below them that changes.

    Use as a context manager: the changing line is gone afterwards.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = is_terminal(self._stream, os.environ)
        self._shown = False

    def __enter__(self) -> Ticker:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        click.echo(line, file=self._stream)

    def show(self, text: str) -> None:
        """What is going on, cut to the terminal's width; nothing elsewhere."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(_CLEAR + text[:width])
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """It shows what moves the cursor."""
    return stream.isatty() and environ.get("TERM", "") not in ("", "dumb")


def has_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """It shows colours, and its user wants them (no-color.org)."""
    return is_terminal(stream, environ) and not environ.get("NO_COLOR")
