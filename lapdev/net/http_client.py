"""The upstream side of HTTP/1.1: one connection, one request at a time.

Works over any asyncio transport: a TCP connection to an app, or a stream inside a tunnel. It
belongs to the downstream connection it was opened for and is never shared between visitors, so a
late or surplus byte of an answer can reach nobody else.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol

from lapdev.errors import LapdevError, RemoteProtocolError, UpstreamClosed
from lapdev.net.relay import reset
from lapdev.wire.http1 import (
    BodyEnd,
    Framing,
    Headers,
    Limits,
    RequestHead,
    ResponseHead,
    ResponseParser,
    chunk_bytes,
    last_chunk_bytes,
    request_bytes,
)


class ResponseSink(Protocol):
    """Who receives a response. Exactly one of `response_end` and `response_failed` ends it."""

    def response_head(self, head: ResponseHead) -> None:
        """A head; informational ones (1xx) come before the final one."""

    def response_data(self, data: bytes) -> None: ...
    def response_end(self, trailers: Headers) -> None: ...
    def response_failed(self, error: Exception) -> None: ...
    def response_flush(self) -> None:
        """Nothing more is at hand: what was held back for joining may leave."""

    def pause_request(self) -> None:
        """The upstream takes no more body for now."""

    def resume_request(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """A connection to a target, reused for the requests of one downstream connection."""

    __slots__ = (
        "_chunked",
        "_detached",
        "_keep_alive",
        "_lost",
        "_parser",
        "_poll",
        "_reading",
        "_request_complete",
        "_sink",
        "_write_paused",
        "answered",
        "served",
        "transport",
    )

    def __init__(self, limits: Limits) -> None:
        self.transport: asyncio.Transport
        self.served = 0
        self.answered = False
        """A byte of an answer to the current request has come."""
        self._parser = ResponseParser(limits)
        self._sink: ResponseSink | None = None
        self._chunked = False
        self._request_complete = True
        self._write_paused = False
        self._reading = True
        self._lost = False
        self._detached = False
        self._keep_alive = True
        self._poll: select.poll | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        # A socket can be asked whether the app has closed; a tunnel's stream tells by itself.
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            # Bytes nobody asked for: the connection cannot be trusted any more (row 30).
            self.close()
            return
        self.answered = True
        try:
            events = self._parser.receive_data(data)
        except RemoteProtocolError as exc:
            self._fail(exc)
            return
        for event in events:
            if isinstance(event, bytes):
                sink.response_data(event)
            elif isinstance(event, ResponseHead):
                self._keep_alive = event.keep_alive
                sink.response_head(event)
            else:
                self._complete(sink, event)
        if self._sink is sink:
            sink.response_flush()

    def eof_received(self) -> bool:
        sink = self._sink
        if sink is None:
            self.close()
            return False
        try:
            events = self._parser.receive_eof()
        except RemoteProtocolError as exc:
            self._fail(UpstreamClosed() if not self.answered else exc)
            return False
        self._lost = True
        for event in events:
            if isinstance(event, BodyEnd):
                self._complete(sink, event)
        return False

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._sink is not None:
            self._sink.pause_request()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._sink is not None:
            self._sink.resume_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._sink is not None:
            error = exc if isinstance(exc, LapdevError) else UpstreamClosed()
            error.__cause__ = error.__cause__ or (exc if error is not exc else None)
            self._fail(error)

    # Requests

    @property
    def reusable(self) -> bool:
        """The connection is idle, whole, and the other end has not begun to close it."""
        if self._lost or self._sink is not None or not self._request_complete:
            return False
        if self._write_paused:
            return False  # the app has not read the last request, whatever it has answered
        if not self._parser.idle or self.transport.is_closing():
            return False
        # Readable while idle means closed (or speaking out of turn): the classic sporadic 502.
        return self._poll is None or not self._poll.poll(0)

    @property
    def write_paused(self) -> bool:
        return self._write_paused

    def send_request(self, head: RequestHead, sink: ResponseSink) -> None:
        """The head leaves; `sink` gets the answer. `head.headers` include the framing."""
        assert self._sink is None
        self._sink = sink
        self.served += 1
        self.answered = False
        self._chunked = head.framing is Framing.CHUNKED
        self._request_complete = head.framing is Framing.NONE
        self._parser.expect(head.method)
        self._write(request_bytes(head))
        if self._write_paused:
            sink.pause_request()

    def send_data(self, data: bytes) -> None:
        if data:
            self._write(chunk_bytes(data) if self._chunked else data)

    def end_request(self, trailers: Headers) -> None:
        """The body is complete."""
        if self._chunked:
            self._write(last_chunk_bytes(trailers))
        self._request_complete = True

    def pause_reading(self) -> None:
        if self._reading and not self._lost and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            if not self._lost and not self.transport.is_closing():
                self.transport.resume_reading()

    def detach(self) -> asyncio.Transport:
        """After a 101: the raw transport. The caller sets a protocol."""
        self._sink = None
        self._lost = self._detached = True
        return self.transport

    def close(self) -> None:
        """Idempotent. The sink hears nothing more."""
        self._sink = None
        self._lost = True
        if not self._detached:
            self.transport.close()

    def abort(self) -> None:
        """The app sees a reset, so that it cannot take a cut body for a whole one."""
        self._sink = None
        self._lost = True
        if not self._detached:
            reset(self.transport)

    # Inside

    def _write(self, data: bytes) -> None:
        if not self._lost and not self.transport.is_closing():
            self.transport.write(data)

    def _complete(self, sink: ResponseSink, end: BodyEnd) -> None:
        self._sink = None
        if self._lost or not self._keep_alive or not self._request_complete:
            self._lost = True
            self.transport.close()
        self.resume_reading()
        sink.response_end(end.trailers)

    def _fail(self, error: Exception) -> None:
        sink, self._sink = self._sink, None
        self._lost = True
        self.transport.abort()
        if sink is not None:
            sink.response_failed(error)
