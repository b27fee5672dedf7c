"""The server's side of HTTP/1.1: request bytes in, events out (RFC 9112)."""

from __future__ import annotations

import re
from enum import Enum, auto

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.http1 import abnf
from lapdev.wire.http1.body import ChunkedBody, LengthBody
from lapdev.wire.http1.events import (
    PUBLIC_LIMITS,
    BodyEnd,
    Framing,
    Limits,
    RequestEvent,
    RequestHead,
)
from lapdev.wire.http1.request_head import HostReader, build_request_head
from lapdev.wire.http1.section import SectionScanner, split_fields, too_many_fields
from lapdev.wire.http1.target import check_request, parse_request_line

# RFC 9112 §2.2 asks for at least one; old clients send one too many after a body.
_EMPTY_LINES = 2


class _State(Enum):
    HEAD = auto()
    BODY = auto()
    PAUSED = auto()  # a message is complete, the next one was not asked for
    FAILED = auto()


class RequestParser:
    """Parses the requests of one connection, one at a time.

    A request is `RequestHead`, any number of `bytes`, `BodyEnd`. Behind `BodyEnd` the parser is
    paused: what comes is only kept, until `start_next()`; the owner stops reading when that is
    more than it wants to keep. So a pipelined request is never looked at before the one in front
    of it was answered, and what follows an upgrade request is never taken for a request before the
    upgrade was refused (CVE-2026-2833).

    Any method may raise `RemoteProtocolError`; its `answer_status` is the answer owed. Events of
    the same call are then lost, and the parser accepts nothing more.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_eof",
        "_error",
        "_host_reader",
        "_limits",
        "_scanner",
        "_state",
    )

    def __init__(self, limits: Limits = PUBLIC_LIMITS) -> None:
        self._limits = limits
        self._state = _State.HEAD
        self._buffer = bytearray()  # an incomplete head, or what came while paused
        self._scanner: SectionScanner | None = None  # of the incomplete head
        self._body: LengthBody | ChunkedBody | None = None
        self._host_reader = HostReader()
        self._eof = False
        self._error: RemoteProtocolError | None = None

    @property
    def idle(self) -> bool:
        """Between messages, and no byte of a next one was seen."""
        if self._state is _State.HEAD:
            return not self.in_head
        return self._state is _State.PAUSED and not self._buffer

    @property
    def in_head(self) -> bool:
        """A head has begun and is not complete. Empty lines before it do not count."""
        scanner = self._scanner
        return scanner is not None and scanner.start < len(self._buffer)

    @property
    def trailing_data(self) -> bytes:
        """What was received and not parsed: behind an upgrade request, the new protocol's."""
        return bytes(self._buffer)

    def receive_data(self, data: bytes) -> list[RequestEvent]:
        """The events that `data` completes."""
        if self._error is not None:
            raise self._error
        try:
            if self._state is _State.BODY:
                return self._receive_body(data, 0, [])
            if self._state is _State.HEAD:
                return self._receive_head(data)
        except RemoteProtocolError as exc:
            self._fail(exc)
            raise
        self._buffer += data
        return []

    def receive_eof(self) -> list[RequestEvent]:
        """Notes that no more bytes will come. Never returns events.

        Raises:
            RemoteProtocolError: in the middle of a message.
        """
        if self._error is not None:
            raise self._error
        self._eof = True
        self._check_eof()
        return []

    def start_next(self) -> list[RequestEvent]:
        """Begins the next message; returns the events of what was kept.

        Raises:
            LocalProtocolError: the current message is not complete.
        """
        if self._error is not None:
            raise self._error
        if self._state is not _State.PAUSED:
            raise LocalProtocolError("the next request was asked for before the end of this one")
        self._state = _State.HEAD
        kept = bytes(self._buffer)
        self._buffer.clear()
        events = self.receive_data(kept) if kept else []
        if self._eof:
            self._check_eof()
        return events

    def _check_eof(self) -> None:
        if self._state is _State.BODY or self.in_head:
            exc = RemoteProtocolError("the connection was closed in the middle of a request")
            self._fail(exc)
            raise exc

    def _fail(self, exc: RemoteProtocolError) -> None:
        self._state = _State.FAILED
        self._error = exc
        self._scanner = None
        self._buffer.clear()

    def _receive_head(self, data: bytes) -> list[RequestEvent]:
        if self._scanner is None:
            match = abnf.REQUEST_HEAD.match(data)
            if match is not None and self._is_small(match):
                return self._take_head(match, data)
            self._scanner = SectionScanner(self._limits, parse_request_line, _EMPTY_LINES)
        self._buffer += data
        if self._scanner.scan(self._buffer) < 0:
            return []
        data = bytes(self._buffer)
        match = abnf.REQUEST_HEAD.match(data, self._scanner.start)
        assert match is not None, "pattern and scanner accept the same heads"
        self._scanner = None
        self._buffer.clear()
        return self._take_head(match, data)

    def _is_small(self, match: re.Match[bytes]) -> bool:
        """Whether no line and not the block can be beyond its limit."""
        limits = self._limits
        section_bytes = match.end(4) - match.start(4)
        return (
            match.end(3) <= limits.request_line_bytes
            and section_bytes <= limits.header_field_bytes
            and section_bytes <= limits.header_block_bytes
        )

    def _take_head(self, match: re.Match[bytes], data: bytes) -> list[RequestEvent]:
        method, target, minor, section = match.groups()
        check_request(method, target)
        headers = split_fields(section)
        if len(headers) > self._limits.header_fields:
            raise too_many_fields(self._limits)
        head = RequestHead(method, target, 1 if minor == b"1" else 0, headers, b"")
        build_request_head(head, self._host_reader)
        return self._start_body(head, data, match.end())

    def _start_body(self, head: RequestHead, data: bytes, pos: int) -> list[RequestEvent]:
        events: list[RequestEvent] = [head]
        if head.framing is not Framing.CHUNKED and not head.content_length:
            self._end_message(data, pos, events)
            return events
        if head.framing is Framing.LENGTH:
            self._body = LengthBody(head.content_length)
        else:
            self._body = ChunkedBody(self._limits)
        self._state = _State.BODY
        return self._receive_body(data, pos, events) if pos < len(data) else events

    def _receive_body(
        self, data: bytes, pos: int, events: list[RequestEvent]
    ) -> list[RequestEvent]:
        body = self._body
        assert body is not None
        payload, end = body.receive(data, pos)
        if payload:
            events.append(payload)
        if end >= 0:
            self._end_message(data, end, events, body)
        return events

    def _end_message(
        self,
        data: bytes,
        end: int,
        events: list[RequestEvent],
        body: LengthBody | ChunkedBody | None = None,
    ) -> None:
        events.append(BodyEnd(body.trailers() if body is not None else []))
        self._body = None
        self._state = _State.PAUSED
        if end < len(data):
            self._buffer += memoryview(data)[end:]
