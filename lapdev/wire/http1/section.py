"""Walks the lines of a head or a trailer section as they become complete.

The parsers match a whole section with one pattern; this is the way beside it, for a section that
came in pieces or did not match. It looks at each byte once, holds the limits however the peer cuts
its bytes, and names the first thing that is wrong. What it says depends on the bytes only, never on
how they were cut.
"""

from __future__ import annotations

from collections.abc import Callable

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import abnf
from lapdev.wire.http1.events import Headers, Limits


class SectionScanner:
    """Finds where a section ends.

    Feed it the same growing buffer until it returns an offset; offsets count from the buffer's
    start. `check_start_line` refuses a start line by raising; a trailer section has none.
    """

    __slots__ = (
        "_block_bytes",
        "_check_start_line",
        "_empty_lines",
        "_fields",
        "_limits",
        "_line_start",
        "_searched",
        "start",
    )

    def __init__(
        self,
        limits: Limits,
        check_start_line: Callable[[bytes], object] | None = None,
        empty_lines: int = 0,
    ) -> None:
        """`empty_lines` may come before the start line (RFC 9112 §2.2)."""
        self.start = 0
        """Where the start line begins: behind the empty lines so far."""
        self._limits = limits
        self._check_start_line = check_start_line
        self._empty_lines = empty_lines
        self._line_start = 0
        self._searched = 0
        self._fields = 0
        self._block_bytes = 0

    def scan(self, buffer: bytes | bytearray) -> int:
        """The offset behind the section's empty line, or -1 if more bytes are needed.

        Raises:
            RemoteProtocolError: a line is too long or malformed.
        """
        while (newline := buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(buffer[self._line_start : newline])
            self._line_start = self._searched = newline + 1
            if self._line_is_last(line):
                return newline + 1
        # The last byte may be a CR whose LF is to come, so it is looked at again.
        cr = buffer.find(b"\r", max(self._searched - 1, self._line_start))
        self._searched = len(buffer)
        partial = len(buffer) - self._line_start
        if partial:
            self._check_first_octet(buffer[self._line_start])
            has_bare_cr = 0 <= cr < len(buffer) - 1
            self._check_length(partial - 1, cr - self._line_start if has_bare_cr else -1)
        return -1

    def _line_is_last(self, line: bytes) -> bool:
        if line:
            self._check_first_octet(line[0])
        cr = line.find(b"\r", 0, -1)
        self._check_length(len(line) - line.endswith(b"\r"), cr)
        # RFC 9112 §2.2 lets a recipient take a bare LF as a line end. We do not: where the next
        # reader disagrees, the rest of the line becomes a request (puma CVE-2021-41136).
        if not line.endswith(b"\r"):
            raise RemoteProtocolError("a line ends in LF without CR")
        line = line[:-1]
        if self._check_start_line is not None:
            self._take_start_line(line, self._check_start_line)
            return False
        if not line:
            return True
        self._take_field_line(line)
        return False

    def _take_start_line(self, line: bytes, check: Callable[[bytes], object]) -> None:
        if line:
            check(line)
            self._check_start_line = None
            return
        # "a server that is expecting to receive and parse a request-line SHOULD ignore at least
        # one empty line (CRLF) received prior to the request-line" (RFC 9112 §2.2).
        if not self._empty_lines:
            raise RemoteProtocolError("an empty line where a start line belongs")
        self._empty_lines -= 1
        self.start = self._line_start

    def _take_field_line(self, line: bytes) -> None:
        self._fields += 1
        self._block_bytes += len(line) + 2
        if self._fields > self._limits.header_fields:
            raise too_many_fields(self._limits)
        if abnf.FIELD_LINE.fullmatch(line) is None:
            raise RemoteProtocolError(_what_is_wrong_with(line))

    def _check_first_octet(self, octet: int) -> None:
        # Said before the line is complete: a TLS hello or a PROXY v2 preamble may never end one.
        if self._check_start_line is None or octet == 0x0D:
            return
        if abnf.TOKEN.match(bytes((octet,))) is None:
            raise RemoteProtocolError(f"a start line cannot begin with the octet 0x{octet:02x}")

    def _check_length(self, length: int, bare_cr: int) -> None:
        """Refuses a line that is too long, or a CR inside it, whichever comes first in it.

        A CR that is no line end to us is one to others: `X: a\\rTransfer-Encoding: chunked`.
        """
        limits = self._limits
        in_block = limits.header_block_bytes - self._block_bytes - 2
        if self._check_start_line is not None:
            allowed, status, what = limits.request_line_bytes, 414, "start line"
        elif in_block < limits.header_field_bytes:
            allowed, status, what = max(in_block, 0), 431, "header block"
        else:
            allowed, status, what = limits.header_field_bytes, 431, "header field"
        if 0 <= bare_cr <= allowed:
            raise RemoteProtocolError("a CR without LF")
        if length > allowed:
            raise RemoteProtocolError(f"the {what} is longer than its limit", status=status)


def too_many_fields(limits: Limits) -> RemoteProtocolError:
    """The error for a section with more fields than `limits` has."""
    return RemoteProtocolError(f"more than {limits.header_fields} header fields", status=431)


def split_fields(section: bytes) -> Headers:
    """The fields of a validated section, each line of it ending in CRLF."""
    return abnf.FIELDS.findall(section)


def _what_is_wrong_with(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    if line[0] in b" \t":
        return "a header line begins with whitespace (obs-fold)"
    if not colon:
        return "a header line has no colon"
    if not name:
        return "a header field has no name"
    if abnf.TOKEN.fullmatch(name) is None:
        return "a header name has a character that is not allowed in one"
    shown = name[:40].decode("ascii")
    return f"the value of header field {shown} has a control character"
