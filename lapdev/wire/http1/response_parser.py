"""The client's side of HTTP/1.1: response bytes in, events out (RFC 9112)."""

from __future__ import annotations

import re
from enum import Enum, auto

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.http1 import abnf
from lapdev.wire.http1.body import ChunkedBody, LengthBody, UntilCloseBody
from lapdev.wire.http1.events import (
    INNER_LIMITS,
    BodyEnd,
    Framing,
    Headers,
    Limits,
    ResponseEvent,
    ResponseHead,
)
from lapdev.wire.http1.framing import (
    collect_facts,
    connection_options,
    keeps_alive,
    response_framing,
)
from lapdev.wire.http1.section import SectionScanner, split_fields, too_many_fields

_MAX_INFORMATIONAL = 8
_UNASKED = "bytes that belong to no answer that was asked for"


class _State(Enum):
    IDLE = auto()  # no answer is expected
    HEAD = auto()
    BODY = auto()
    SWITCHED = auto()
    SURPLUS = auto()  # complete, and more bytes came with the last ones
    FAILED = auto()


class ResponseParser:
    """Parses the answers on one connection, one at a time.

    An answer is any number of informational `ResponseHead`, the final `ResponseHead`, any number of
    `bytes`, `BodyEnd`. Behind a 101 there is no `BodyEnd`: all further bytes are the new
    protocol's, also those in the list that has the head.

    Any method may raise `RemoteProtocolError`: the connection is then of no more use. Events of the
    same call are lost, with one exception: bytes that came in one piece with the end of an answer
    and are beyond it do not take the answer away. Then `idle` stays False and the next call
    raises; so `idle` is asked before the connection is used again.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_error",
        "_informational",
        "_limits",
        "_may_switch",
        "_method",
        "_scanner",
        "_state",
    )

    def __init__(self, limits: Limits = INNER_LIMITS) -> None:
        self._limits = limits
        self._state = _State.IDLE
        self._method = b""
        self._may_switch = True
        self._informational = 0
        self._buffer = bytearray()  # of an incomplete head
        self._scanner: SectionScanner | None = None
        self._body: LengthBody | ChunkedBody | UntilCloseBody | None = None
        self._error: RemoteProtocolError | None = None

    @property
    def idle(self) -> bool:
        """No answer is expected and no byte came that none was expected for."""
        return self._state is _State.IDLE

    def expect(self, method: bytes, *, upgrade: bool = True) -> None:
        """Announces the answer to a `method` request. Without `upgrade` a 101 is refused.

        Raises:
            LocalProtocolError: an answer is still expected.
            RemoteProtocolError: bytes came that no answer was expected for.
        """
        self._raise_if_useless()
        if self._state is not _State.IDLE:
            raise LocalProtocolError("a request was sent before the last answer was complete")
        self._state = _State.HEAD
        self._method = method
        self._may_switch = upgrade
        self._informational = 0

    def receive_data(self, data: bytes) -> list[ResponseEvent]:
        """The events that `data` completes."""
        self._raise_if_useless()
        try:
            return self._receive(data)
        except RemoteProtocolError as exc:
            self._fail(exc)
            raise

    def receive_eof(self) -> list[ResponseEvent]:
        """The end of a body that the end of the connection ends; else nothing.

        Raises:
            RemoteProtocolError: an answer is missing or incomplete.
        """
        self._raise_if_useless()
        if self._state is _State.IDLE or self._state is _State.SWITCHED:
            return []
        if isinstance(self._body, UntilCloseBody):
            self._body = None
            self._state = _State.IDLE
            return [BodyEnd()]
        began = self._body is not None or self._buffer or self._informational
        where = "in the middle of" if began else "before"
        exc = RemoteProtocolError(f"the connection was closed {where} the response")
        self._fail(exc)
        raise exc

    def _raise_if_useless(self) -> None:
        if self._state is _State.SURPLUS:
            self._fail(RemoteProtocolError(_UNASKED))
        if self._error is not None:
            raise self._error

    def _fail(self, exc: RemoteProtocolError) -> None:
        self._state = _State.FAILED
        self._error = exc
        self._buffer.clear()

    def _receive(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        pos = 0
        while pos < len(data):
            if self._state is _State.BODY:
                pos = self._receive_body(data, pos, events)
            elif self._state is _State.HEAD:
                data, pos = self._receive_head(data, pos, events)
            elif self._state is _State.SWITCHED:
                events.append(data[pos:] if pos else data)
                break
            elif events:
                self._state = _State.SURPLUS
                break
            else:
                raise RemoteProtocolError(_UNASKED)
        return events

    def _receive_head(
        self, data: bytes, pos: int, events: list[ResponseEvent]
    ) -> tuple[bytes, int]:
        """Takes a head from `data` at `pos`; returns what to go on with."""
        if self._scanner is None:
            match = abnf.RESPONSE_HEAD.match(data, pos)
            if match is not None and self._is_small(match, pos):
                self._take_head(match, events)
                return data, match.end()
            self._scanner = SectionScanner(self._limits, _check_status_line)
        self._buffer += memoryview(data)[pos:]
        if self._scanner.scan(self._buffer) < 0:
            return data, len(data)
        data = bytes(self._buffer)
        match = abnf.RESPONSE_HEAD.match(data)
        assert match is not None, "pattern and scanner accept the same heads"
        self._scanner = None
        self._buffer.clear()
        self._take_head(match, events)
        return data, match.end()

    def _is_small(self, match: re.Match[bytes], pos: int) -> bool:
        """Whether no line and not the block can be beyond its limit."""
        limits = self._limits
        section_bytes = match.end(4) - match.start(4)
        return (
            match.start(4) - pos - 2 <= limits.request_line_bytes
            and section_bytes <= limits.header_field_bytes
            and section_bytes <= limits.header_block_bytes
        )

    def _take_head(self, match: re.Match[bytes], events: list[ResponseEvent]) -> None:
        digits, code, reason, section = match.groups()
        headers = split_fields(section)
        if len(headers) > self._limits.header_fields:
            raise too_many_fields(self._limits)
        minor, status = int(digits), int(code)
        facts = collect_facts(headers)
        framing, length = response_framing(facts, minor, status, self._method)
        keep_alive = framing is not Framing.UNTIL_CLOSE and keeps_alive(
            connection_options(facts), minor
        )
        head = ResponseHead(status, reason or b"", headers, minor, framing, length, keep_alive)
        if status < 200:
            self._check_informational(status)
        events.append(head)
        self._start_body(head, events)

    def _check_informational(self, status: int) -> None:
        if status == 101 and not self._may_switch:
            raise RemoteProtocolError("a 101 that no upgrade was asked for")
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise RemoteProtocolError(f"more than {_MAX_INFORMATIONAL} informational responses")

    def _start_body(self, head: ResponseHead, events: list[ResponseEvent]) -> None:
        match head.framing:
            case Framing.NONE:
                if head.status >= 200:
                    self._end_message(events)
                return
            case Framing.SWITCHED:
                self._state = _State.SWITCHED
                return
            case Framing.LENGTH if not head.content_length:
                self._end_message(events)
                return
            case Framing.LENGTH:
                self._body = LengthBody(head.content_length)
            case Framing.CHUNKED:
                self._body = ChunkedBody(self._limits)
            case Framing.UNTIL_CLOSE:
                self._body = UntilCloseBody()
        self._state = _State.BODY

    def _receive_body(self, data: bytes, pos: int, events: list[ResponseEvent]) -> int:
        body = self._body
        assert body is not None
        payload, end = body.receive(data, pos)
        if payload:
            events.append(payload)
        if end < 0:
            return len(data)
        self._end_message(events, body.trailers())
        return end

    def _end_message(self, events: list[ResponseEvent], trailers: Headers | None = None) -> None:
        events.append(BodyEnd(trailers or []))
        self._body = None
        self._state = _State.IDLE


def _check_status_line(line: bytes) -> None:
    if abnf.STATUS_LINE.fullmatch(line) is None:
        raise RemoteProtocolError("malformed status line")
