"""One downstream connection: bytes become exchanges, one at a time and in order.

It feeds the parser, hands each request to the server's handler, and keeps the deadlines. Bodies
stream both ways; whoever is slower slows the other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from lapdev.errors import LapdevError, RemoteProtocolError
from lapdev.log import get_logger
from lapdev.net.deadlines import NEVER
from lapdev.net.exchange import REASONS, Exchange
from lapdev.net.relay import reset
from lapdev.wire.http1 import (
    BodyEnd,
    RequestEvent,
    RequestHead,
    RequestParser,
    ResponseHead,
    framing_headers,
    response_bytes,
)

if TYPE_CHECKING:
    from lapdev.net.http_server import HttpServer

LINGER_BYTES = 65_536
LINGER_TIMEOUT = 2.0
"""After an error answer we read on for this long, so that the peer can read it (RFC 9112 §9.6)."""

PIPELINE_BYTES = 65_536
"""Bytes of later requests we hold while one is answered; above, reading pauses."""


class HttpConnection(asyncio.Protocol):
    """One downstream connection."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.options = server.options
        self.conn_id = secrets.token_hex(4)
        self.peer = ""
        self.tls = False
        self.state: dict[str, Any] = {}
        """Whatever the role keeps for as long as this connection lives."""
        self.on_close: list[Callable[[], None]] = []
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport
        self.requests = 0
        self._parser = RequestParser(server.options.limits)
        self._loop = asyncio.get_running_loop()
        self._due = NEVER  # what the client owes us: a head, a body, or to leave
        self._write_due = NEVER  # to take more of its answers
        self._rest_due = NEVER
        self._written = 0
        self._taken = 0  # of what was written, when `_write_due` was set
        # Two reasons to stop reading, which come and go by themselves.
        self._body_paused = False
        self._pipeline_full = False
        self._reading = True
        self._write_paused = False
        self._next_due = False  # an exchange is over, the request behind it not begun
        self._ended = False  # the client sends nothing more
        self._lingering = -1  # bytes we still swallow after an error answer; -1: not lingering
        self._closed = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport
        peername = transport.get_extra_info("peername")
        self.peer = str(peername[0]) if isinstance(peername, tuple) else "unix"
        self.tls = transport.get_extra_info("ssl_object") is not None
        self.server.connections.add(self)
        self.server.sweep.add(self)
        self._rest()
        if self.server.draining and not self.server.leaving.idle_timeout:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._lingering >= 0:
            self._linger_some(len(data))
            return
        try:
            events = self._parser.receive_data(data)
        except RemoteProtocolError as exc:
            self._fail(exc)
            return
        if events:
            self._dispatch(events)
        else:
            self._watch_head()
        self._watch_pipeline()

    def eof_received(self) -> bool:
        """A client may half-close after its requests; the answers still go out, except over TLS."""
        return self._note_eof() and not self.tls

    def _note_eof(self) -> bool:
        if self._lingering >= 0 or self._closed:
            return False
        if self._ended:
            return True  # uvloop tells it again when reading is resumed
        self._ended = True
        exchange = self.exchange
        try:
            self._parser.receive_eof()
        except RemoteProtocolError as exc:
            if exchange is None:
                self._fail(exc)
                return True
            exchange.downstream_lost(exc)
            return False
        more = bool(self._parser.trailing_data)
        if exchange is None:
            return more and self._next_due
        if exchange.response_started and not more:
            # Half-closing comes with the request. Whoever ends later, in the middle of the answer,
            # has left: an event stream nobody reads must not be kept for its next event.
            exchange.downstream_lost(ConnectionResetError("the client left"))
            return False
        exchange.keep_alive = exchange.keep_alive and more
        return True

    def pause_writing(self) -> None:
        self._write_paused = True
        self._watch_writing()
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.pause_response()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._write_due = NEVER
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.resume_response()
        if self._next_due:
            self._next_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.downstream_lost(
                exc or ConnectionResetError("the client closed the connection")
            )
        self._leave()

    # For Exchange

    def now(self) -> float:
        """Loop time."""
        return self._loop.time()

    @property
    def write_paused(self) -> bool:
        return self._write_paused

    @property
    def closed(self) -> bool:
        return self._closed or self.transport.is_closing()

    @property
    def ended(self) -> bool:
        """The client has closed its sending side."""
        return self._ended

    @property
    def deadline(self) -> float:
        return min(self._due, self._write_due)

    def write(self, data: bytes) -> None:
        # uvloop raises on a write after close; a client may leave at any moment.
        if not self.closed:
            self._written += len(data)
            self.transport.write(data)

    def pause_body(self) -> None:
        """The client is made to wait, and so has no deadline to keep."""
        self._body_paused = True
        self._due = NEVER
        self._steer_reading()

    def resume_body(self) -> None:
        if self._body_paused:
            self._body_paused = False
            if self.exchange is not None and not self.exchange.request_complete:
                self.touch_body()
            self._steer_reading()

    def touch_body(self) -> None:
        """The client has from now on to send more of its body."""
        if not self._body_paused:
            self._due = self._loop.time() + self.options.body_timeout

    def body_finished(self) -> None:
        self._due = NEVER
        if self.exchange is not None and self.exchange.answer_timeout:
            self.await_answer(self.exchange.answer_timeout)

    def await_answer(self, timeout: float) -> None:
        """The exchange is asked `timeout` seconds from now what became of its answer."""
        self._due = self._loop.time() + timeout

    def exchange_finished(self, exchange: Exchange) -> None:
        """The response is complete; begin the next request, or close."""
        if self.exchange is not exchange:
            return
        last = self.server.draining and not self.server.leaving.idle_timeout
        if last or not exchange.keep_alive:
            self._close_after_answer(complete=exchange.request_complete)
            return
        if not exchange.request_complete:
            self._swallow(exchange)
            return
        self.exchange = None
        self._next_request()

    def abort(self) -> None:
        """The peer sees a reset, never a clean end."""
        if not self._closed:
            reset(self.transport)

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Hands the raw connection over; this object is out of the game."""
        self.exchange = None
        self._due = self._write_due = NEVER
        self._leave()
        return self.transport, self._parser.trailing_data

    def drain(self) -> None:
        """Closes when idle, else after the current exchange.

        Idle is who has been silent for a while: a request that is on its way now must not meet a
        closed connection.
        """
        if self.exchange is not None or self._closed or self._lingering >= 0:
            return
        if self._parser.in_head:
            return  # its own deadline runs
        rested = self._loop.time() - (self._rest_due - self.options.idle_timeout)
        left = self.server.leaving.idle_timeout - rested
        if left > 0:
            self._rest_due = self._due = self._loop.time() + left
        else:
            self._close()

    def deadline_passed(self) -> None:
        if self._write_due <= self._loop.time():
            self._write_deadline_passed()
            return
        self._due = NEVER
        exchange = self.exchange
        if self._lingering >= 0:
            self._lingering_over()
        elif exchange is not None and exchange.finished:  # the rest of its body did not come
            self._close_after_answer(complete=False)
        elif exchange is not None and exchange.request_complete:
            exchange.answer_overdue()
        elif exchange is not None:
            self._fail(RemoteProtocolError("the request body stopped coming", status=408))
        elif self._parser.in_head:
            self._fail(RemoteProtocolError("the request head took too long", status=408))
        else:
            self._close()

    # Inside

    def _leave(self) -> None:
        self.server.forget(self)
        callbacks, self.on_close = self.on_close, []
        for callback in callbacks:
            callback()

    def _rest(self) -> None:
        server = self.server
        idle = server.leaving.idle_timeout if server.draining else self.options.idle_timeout
        self._rest_due = self._due = self._loop.time() + idle

    def _watch_head(self) -> None:
        """A head's own deadline begins with its first byte, and does not move."""
        if self.exchange is None and self._parser.in_head and self._due == self._rest_due:
            self._due = self._loop.time() + self.options.header_timeout

    def _watch_pipeline(self) -> None:
        self._pipeline_full = len(self._parser.trailing_data) > PIPELINE_BYTES
        self._steer_reading()

    def _steer_reading(self) -> None:
        wanted = not (self._body_paused or self._pipeline_full)
        if wanted is not self._reading and not self.closed:
            self._reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def _watch_writing(self) -> None:
        self._taken = self._written - self.transport.get_write_buffer_size()
        self._write_due = self._loop.time() + self.options.write_timeout

    def _write_deadline_passed(self) -> None:
        """A slow reader is served for as long as it reads at all."""
        before = self._taken
        self._watch_writing()
        if self._taken > before:
            return
        self._write_due = NEVER
        if self.exchange is not None:
            self.exchange.downstream_lost(TimeoutError("the client stopped reading"))
        self.abort()

    def _dispatch(self, events: list[RequestEvent]) -> None:
        for event in events:
            if isinstance(event, bytes):
                if self.exchange is not None:
                    self.exchange.body_received(event)
            elif isinstance(event, RequestHead):
                self._begin(event)
            elif isinstance(event, BodyEnd) and self.exchange is not None:
                self.exchange.body_completed(event.trailers)

    def _begin(self, head: RequestHead) -> None:
        self.requests += 1
        self._due = NEVER
        exchange = Exchange(self, head)
        last = self._ended and not self._parser.trailing_data
        if last or self.requests >= self.options.max_requests or self.server.draining:
            exchange.keep_alive = False
        self.exchange = exchange
        if exchange.has_body and not head.expect_continue:
            self.touch_body()
        try:
            self.server.handler(exchange)
        except Exception as exc:
            self._handler_failed(exchange, exc)

    def _handler_failed(self, exchange: Exchange, exc: Exception) -> None:
        get_logger().error("exchange_failed", conn_id=self.conn_id, exc_info=exc)
        if exchange.response_started:
            exchange.abort()
        else:
            status = exc.status if isinstance(exc, LapdevError) else 500
            exchange.keep_alive = False
            exchange.respond(status, [(b"content-type", b"text/plain")], b"internal error\n")

    def _next_request(self) -> None:
        self._next_due = True
        self._body_paused = False
        if self._write_paused:
            return  # until the client has read what it asked for: answers must not pile up here
        # A pipelined request answered at once would recurse through exchange_finished; the loop
        # turns that into one more callback instead of one more stack frame.
        if self._parser.trailing_data:
            self._loop.call_soon(self._start_next)
        else:
            self._start_next()

    def _start_next(self) -> None:
        if not self._next_due or self._write_paused or self.closed:
            return
        self._next_due = False
        try:
            events = self._parser.start_next()
        except RemoteProtocolError as exc:
            self._fail(exc)
            return
        self._rest()
        self._dispatch(events)
        self._watch_head()
        if self._ended and self.exchange is None and not self._next_due:
            self._close()
        elif self._lingering < 0:
            self._watch_pipeline()

    def _swallow(self, exchange: Exchange) -> None:
        """An early answer: read a short rest of the body so that the connection can live on."""
        self._due = self._loop.time() + LINGER_TIMEOUT
        exchange.swallow_body(LINGER_BYTES, self._swallowed)
        if self._body_paused:
            self._body_paused = False
            self._steer_reading()

    def _swallowed(self, exchange: Exchange, complete: bool) -> None:
        if not complete:
            self._close_after_answer(complete=False)
            return
        self.exchange = None
        self._next_request()

    def _fail(self, error: RemoteProtocolError) -> None:
        """Answers a request that could not be parsed, and closes."""
        self.server.on_bad_request(self, error)
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            if exchange.finished:  # its answer was early, and is not to be lost now
                self._close_after_answer(complete=False)
                return
            started = exchange.response_started
            exchange.downstream_lost(error)
            if started:
                self.abort()
                return
        body = f"{error.detail}\n".encode()
        head = ResponseHead(
            error.answer_status,
            REASONS.get(error.answer_status, b""),
            [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")],
        )
        head.headers += framing_headers(head.framing.LENGTH, len(body))
        self.write(response_bytes(head) + body)
        self._close_after_answer(complete=False)

    def _close_after_answer(self, *, complete: bool) -> None:
        """Closing with bytes unread resets the connection, and takes the answer away with it."""
        self.exchange = None
        nothing_unread = complete and self._reading and not self._parser.trailing_data
        if nothing_unread or self._ended or self.closed:
            self._close()
            return
        self._lingering = LINGER_BYTES
        self._due = self._loop.time() + LINGER_TIMEOUT
        self._watch_writing()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._body_paused = self._pipeline_full = False
        self._steer_reading()

    def _linger_some(self, size: int) -> None:
        self._lingering = max(self._lingering - size, 0)
        if not self._lingering:
            self._pipeline_full = True  # enough swallowed
            self._steer_reading()
            self._lingering_over()

    def _lingering_over(self) -> None:
        if self.transport.get_write_buffer_size():
            self._due = self._loop.time() + LINGER_TIMEOUT
        else:
            self.transport.abort()

    def _close(self) -> None:
        """What is written still goes out, to a client that takes it."""
        if self.transport.get_write_buffer_size():
            self._watch_writing()
        self._due = NEVER
        self.transport.close()
