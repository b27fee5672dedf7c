"""How a process of a pod ended, in words for a person. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from lapdev.errors import LapdevError

SAID_LENGTH = 300
NOT_STARTED = (126, 127)
_OURS = "lapdev: "
# ECMA-48: control sequences, and strings up to their end.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


@dataclass(frozen=True, slots=True)
class Exit:
    status: int
    """Minus the signal's number when a signal ended it."""
    cause: str = ""
    """Why, where more is known than the status: it was ended by us, or ran out of memory."""
    said: str = ""
    """The last line it printed."""

    @property
    def ok(self) -> bool:
        """It did what it was for. One that we had to end did not, whatever its status says."""
        return self.status == 0 and not self.cause

    def __str__(self) -> str:
        if self.cause:
            return self.cause
        # enter.py could not become the program, and said why.
        if self.status in NOT_STARTED and self.said.startswith(_OURS):
            return self.said.removeprefix(_OURS)
        how = describe_status(self.status)
        return f"{how}: {self.said}" if self.said and self.status else how


def describe_status(status: int) -> str:
    """`exit code 3`, `ended by SIGTERM`."""
    if status < 0:
        return f"ended by {_signal_name(-status)}"
    # A shell's way to say that what it ran was ended by a signal.
    by = f" ({_signal_name(status - 128)})" if 128 < status <= 128 + signal.SIGRTMAX else ""
    return f"exit code {status}{by}"


def last_words(lines: Sequence[str]) -> str:
    """The last line with something in it, not too long, and harmless to a terminal."""
    return next((said for line in reversed(lines) if (said := _plain(line))), "")[:SAID_LENGTH]


def explained(error: LapdevError) -> str:
    """What is wrong, and what to do."""
    return f"{error} ({error.hint})" if error.hint else str(error)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def binary_size(size: int) -> str:
    """`64 MiB`: bytes in the largest unit that divides them."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _plain(line: str) -> str:
    text = _ESCAPE.sub("", line)
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
