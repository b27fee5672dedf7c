"""Body readers: from framed bytes to body bytes (RFC 9112 §6.2, §7.1).

A reader is given what came and says where the body ended. Each body byte is copied at most once;
what came in one piece leaves in one piece, however many chunks it was cut into.
"""

from __future__ import annotations

from enum import IntEnum

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import abnf
from lapdev.wire.http1.events import Headers, Limits
from lapdev.wire.http1.section import SectionScanner, split_fields

NOT_YET = -1

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_MALFORMED = "malformed chunk size or chunk extension"


class LengthBody:
    """A body of known length."""

    __slots__ = ("_remaining",)

    def __init__(self, length: int) -> None:
        self._remaining = length

    def receive(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """The body bytes in `data` from `pos` on, and where the body ended or `NOT_YET`."""
        available = len(data) - pos
        if available < self._remaining:
            self._remaining -= available
            return (data[pos:] if pos else data), NOT_YET
        end = pos + self._remaining
        self._remaining = 0
        return (data if available == end == len(data) else data[pos:end]), end

    def trailers(self) -> Headers:
        return []


class UntilCloseBody:
    """A body that the end of the connection ends."""

    __slots__ = ()

    def receive(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """All of `data` from `pos` on."""
        return (data[pos:] if pos else data), NOT_YET

    def trailers(self) -> Headers:
        return []


class _Phase(IntEnum):
    SIZE = 0
    DATA = 1
    CR = 2  # of the CRLF behind chunk-data
    LF = 3
    TRAILERS = 4


class ChunkedBody:
    """A chunked body. Extensions are checked, counted and dropped, as §7.1.1 has it."""

    __slots__ = (
        "_extensions",
        "_limits",
        "_partial",
        "_phase",
        "_remaining",
        "_scanner",
        "_trailers",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._phase = _Phase.SIZE
        self._remaining = 0
        self._extensions = 0  # bytes of them so far
        self._partial = bytearray()  # of a chunk line or of the trailer section
        self._scanner = SectionScanner(limits)
        self._trailers: Headers = []

    def receive(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """The body bytes in `data` from `pos` on, and where the body ended or `NOT_YET`.

        Raises:
            RemoteProtocolError: the chunks are malformed. Body bytes of this call are lost.
        """
        view = memoryview(data)
        parts: list[memoryview] = []
        length = len(data)
        end = NOT_YET
        while pos < length:
            phase = self._phase
            if phase is _Phase.SIZE:
                pos = self._take_whole_chunks(data, pos, view, parts)
                if pos < length:
                    pos = self._take_size_line(data, pos)
            elif phase is _Phase.DATA:
                stop = min(pos + self._remaining, length)
                parts.append(view[pos:stop])
                self._remaining -= stop - pos
                pos = stop
                if not self._remaining:
                    self._phase = _Phase.CR
            elif phase is _Phase.TRAILERS:
                end = self._take_trailers(data, pos)
                break
            else:
                pos = self._take_data_end(data, pos)
        # The whole of `data` needs no copy; anything else costs the one that join makes.
        return b"".join(parts), end

    def trailers(self) -> Headers:
        return self._trailers

    def _take_whole_chunks(
        self, data: bytes, pos: int, view: memoryview, parts: list[memoryview]
    ) -> int:
        """Takes the plain chunks that are there as a whole; a million tiny ones go this way."""
        if self._partial:
            return pos
        while (match := abnf.PLAIN_CHUNK_LINE.match(data, pos)) is not None:
            start = match.end()
            stop = start + int(match[1], 16)
            if stop == start or not data.startswith(b"\r\n", stop):
                break
            parts.append(view[start:stop])
            pos = stop + 2
        return pos

    def _take_size_line(self, data: bytes, pos: int) -> int:
        if not self._partial:
            match = abnf.CHUNK_LINE.match(data, pos)
            if match is not None:
                self._take_size(match[1], match[2])
                return match.end()
        newline = data.find(b"\n", pos)
        stop = newline + 1 if newline >= 0 else len(data)
        line = self._partial
        line += data[pos:stop]
        if newline >= 0:
            match = abnf.CHUNK_LINE.fullmatch(line)
            if match is None:
                raise RemoteProtocolError(_MALFORMED)
            self._take_size(bytes(match[1]), bytes(match[2]))
            line.clear()
        elif line[0] not in _HEX_DIGITS or line.find(b"\r", pos - stop - 1, -1) >= 0:
            # Said before an LF comes, which a peer with such a line may never send.
            raise RemoteProtocolError(_MALFORMED)
        elif len(line) > self._limits.chunk_line_bytes + 1:  # the last one may be the CR
            self._refuse_line_length()
        return stop

    def _take_size(self, digits: bytes, extension: bytes) -> None:
        if extension:
            if len(digits) + len(extension) > self._limits.chunk_line_bytes:
                self._refuse_line_length()
            self._extensions += len(extension)
            if self._extensions > self._limits.chunk_extensions_bytes:
                raise RemoteProtocolError(
                    f"more than {self._limits.chunk_extensions_bytes} bytes of chunk extensions"
                )
        self._remaining = int(digits, 16)
        self._phase = _Phase.DATA if self._remaining else _Phase.TRAILERS

    def _refuse_line_length(self) -> None:
        raise RemoteProtocolError(
            f"a chunk size line is longer than {self._limits.chunk_line_bytes} bytes"
        )

    def _take_data_end(self, data: bytes, pos: int) -> int:
        # Exactly CRLF: where these two octets were skipped unseen, a chunk could hide the next
        # one's size (h11, CVE-2025-43859).
        if self._phase is _Phase.CR:
            if data[pos] != 0x0D:
                raise RemoteProtocolError("chunk data is not followed by CRLF")
            self._phase = _Phase.LF
            pos += 1
            if pos == len(data):
                return pos
        if data[pos] != 0x0A:
            raise RemoteProtocolError("chunk data is not followed by CRLF")
        self._phase = _Phase.SIZE
        return pos + 1

    def _take_trailers(self, data: bytes, pos: int) -> int:
        if not self._partial and data.startswith(b"\r\n", pos):
            return pos + 2
        before = len(self._partial)
        self._partial += memoryview(data)[pos:]
        section_end = self._scanner.scan(self._partial)
        if section_end < 0:
            return NOT_YET
        self._trailers = split_fields(bytes(self._partial[: section_end - 2]))
        _check_trailers(self._trailers)
        return pos + section_end - before


_FORBIDDEN_TRAILERS = frozenset((b"content-length", b"host", b"transfer-encoding"))


def _check_trailers(trailers: Headers) -> None:
    # "A sender MUST NOT generate a trailer field unless […] this field […] is not […] message
    # framing […], routing" (RFC 9110 §6.5.1). Somebody merges trailers into the head: these three
    # would frame or route the message anew. The others never leave the trailers.
    for name, _ in trailers:
        if name.lower() in _FORBIDDEN_TRAILERS:
            raise RemoteProtocolError(f"trailer field {name.decode('ascii')} is not allowed")
