"""Is this HTTP/1? Decided from the first bytes of a connection, with no clock and no I/O.

A request line is `method SP target SP "HTTP/1."…` (RFC 9112 §3). The first byte that cannot belong
to one settles it as raw; ` HTTP/1.` in its place settles it as HTTP, and whether the rest of the
head is sound is the parser's business. Methods are upper case here, with hyphens: every registered
one is, and the lower-case commands of other line protocols are told apart by it.
"""

from __future__ import annotations

import re
from enum import Enum

METHOD_BYTES = 24
"""The longest registered method, UPDATEREDIRECTREF, has 17."""
TARGET_BYTES = 16_384

_METHOD = re.compile(rb"[A-Z-]*")  # VERSION-CONTROL, M-SEARCH
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]*")  # no SP, no control byte, no DEL
_VERSION = b"HTTP/1."


class Verdict(Enum):
    """What a connection's first bytes say it is."""

    MORE = "more"
    """So far it could be either."""
    HTTP = "http"
    RAW = "raw"


class Sniffer:
    """Reads the first bytes of one connection, each byte once."""

    __slots__ = ("_count", "_stage", "_target_slash", "verdict")

    def __init__(self) -> None:
        self.verdict = Verdict.MORE
        self._stage = 0  # 0 method, 1 target, 2 version
        self._count = 0  # bytes of the current element so far
        self._target_slash = False

    def feed(self, data: bytes) -> Verdict:
        """The verdict after these bytes too; once it is not MORE it never changes."""
        position = 0
        while self.verdict is Verdict.MORE and position < len(data):
            position = self._step(data, position)
        return self.verdict

    def _step(self, data: bytes, position: int) -> int:
        """Reads what `data` holds of the current element; returns where the next one begins."""
        if self._stage == 2:
            return self._version(data, position)
        pattern, limit = (_TARGET, TARGET_BYTES) if self._stage else (_METHOD, METHOD_BYTES)
        if self._stage == 1 and self._count == 0:
            self._target_slash = data[position] == 0x2F
        found = pattern.match(data, position)
        assert found is not None
        end = found.end()
        self._count += end - position
        if self._count > limit:
            # Only a web client sends a path of this length; the HTTP side answers it with 414.
            long_path = self._stage == 1 and self._target_slash
            self.verdict = Verdict.HTTP if long_path else Verdict.RAW
        elif end < len(data):
            if data[end] != 0x20 or self._count == 0:
                self.verdict = Verdict.RAW
            self._stage, self._count = self._stage + 1, 0
            end += 1
        return end

    def _version(self, data: bytes, position: int) -> int:
        wanted = _VERSION[self._count :]
        got = data[position : position + len(wanted)]
        self._count += len(got)
        if not wanted.startswith(got):
            self.verdict = Verdict.RAW
        elif self._count == len(_VERSION):
            self.verdict = Verdict.HTTP
        return position + len(got)
