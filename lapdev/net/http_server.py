"""The downstream side of HTTP/1.1: connections that become exchanges.

`HttpServer` makes one `HttpConnection` per accepted socket; that feeds the parser and hands each
request, as an `Exchange`, to the role's handler, one at a time and in order. Nothing here knows
where a request goes. Bodies stream both ways; whoever is slower slows the other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from lapdev.errors import LapdevError, RemoteProtocolError
from lapdev.log import get_logger
from lapdev.net.deadlines import NEVER, Sweep
from lapdev.net.exchange import REASONS, Exchange
from lapdev.net.relay import reset
from lapdev.wire.http1 import (
    PUBLIC_LIMITS,
    BodyEnd,
    Limits,
    RequestEvent,
    RequestHead,
    RequestParser,
    ResponseHead,
    framing_headers,
    response_bytes,
)

LINGER_BYTES = 65_536
LINGER_TIMEOUT = 2.0
"""After an error answer we read on for this long, so that the peer can read it (RFC 9112 §9.6)."""

PIPELINE_BYTES = 65_536
"""Bytes of later requests we hold while one is answered; above, reading pauses."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits and deadlines of a listener. Seconds and bytes."""

    limits: Limits = field(default=PUBLIC_LIMITS)
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_timeout: float = 60.0
    max_requests: int = 1_000
    drain_timeout: float = 30.0
    sweep_interval: float = 1.0


class HttpServer:
    """Serves HTTP/1.1 with `handler`, which is called with each request's head parsed.

    The handler must not block; an exception it raises is answered with a status and logged.
    """

    def __init__(
        self, handler: Callable[[Exchange], None], options: ServerOptions | None = None
    ) -> None:
        self.handler = handler
        self.options = options or ServerOptions()
        self.connections: set[HttpConnection] = set()
        self.sweep = Sweep(self.options.sweep_interval)
        self.draining = False
        self.on_bad_request: Callable[[HttpConnection, RemoteProtocolError], None] = (
            _log_bad_request
        )
        self._drained = asyncio.Event()

    def connection(self) -> HttpConnection:
        """The protocol for one accepted socket: pass this method as a protocol factory."""
        return HttpConnection(self)

    async def aclose(self) -> None:
        """Connections finish what they are in within `drain_timeout`, or are cut. Idempotent."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(self.options.drain_timeout):
                while self.connections:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()

    def forget(self, connection: HttpConnection) -> None:
        self.sweep.discard(connection)
        self.connections.discard(connection)
        self._drained.set()


class HttpConnection(asyncio.Protocol):
    """One downstream connection."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.options = server.options
        self.conn_id = secrets.token_hex(4)
        self.peer = ""
        self.state: dict[str, Any] = {}
        """Whatever the role keeps for as long as this connection lives."""
        self.on_close: list[Callable[[], None]] = []
        self.deadline = NEVER
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport
        self.requests = 0
        self._parser = RequestParser(server.options.limits)
        self._loop = asyncio.get_running_loop()
        self._reading = True
        self._write_paused = False
        self._lingering = -1  # bytes we still swallow after an error answer; -1: not lingering
        self._closed = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport
        peername = transport.get_extra_info("peername")
        self.peer = str(peername[0]) if isinstance(peername, tuple) else "unix"
        self.server.connections.add(self)
        self.server.sweep.add(self)
        self._rest()
        if self.server.draining:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._lingering >= 0:
            self._lingering -= len(data)
            if self._lingering < 0:
                self.transport.abort()
            return
        try:
            events = self._parser.receive_data(data)
        except RemoteProtocolError as exc:
            self._fail(exc)
            return
        if events:
            self._dispatch(events)
        elif (
            self.exchange is None and self._parser.in_head and self.deadline == self._rest_deadline
        ):
            self.deadline = self._loop.time() + self.options.header_timeout
        if len(self._parser.trailing_data) > PIPELINE_BYTES:
            self.pause_reading()

    def eof_received(self) -> bool:
        """A client may half-close after its request; the answer still goes out."""
        if self._lingering >= 0 or self._closed:
            return False
        try:
            events = self._parser.receive_eof()
        except RemoteProtocolError as exc:
            if self.exchange is None:
                self._fail(exc)
                return True
            self.exchange.downstream_lost(exc)
            return False
        self._dispatch(events)
        exchange = self.exchange
        if exchange is None:
            return False
        if exchange.response_started:
            # Half-closing comes with the request. Whoever ends later, in the middle of the answer,
            # has left: an event stream nobody reads must not be kept for its next event.
            exchange.downstream_lost(ConnectionResetError("the client left"))
            return False
        exchange.keep_alive = False
        return True

    def pause_writing(self) -> None:
        self._write_paused = True
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.pause_response()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.resume_response()

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

    def write(self, data: bytes) -> None:
        # uvloop raises on a write after close; a client may leave at any moment.
        if not self.closed:
            self.transport.write(data)

    def pause_reading(self) -> None:
        if self._reading and not self.closed:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self.closed:
            self._reading = True
            self.transport.resume_reading()

    def touch_body(self) -> None:
        """A body byte arrived: the inactivity deadline moves on."""
        self.deadline = self._loop.time() + self.options.body_timeout

    def body_finished(self) -> None:
        self.deadline = NEVER

    def exchange_finished(self, exchange: Exchange) -> None:
        """The response is complete; begin the next request, or close."""
        if self.exchange is not exchange:
            return
        if not exchange.keep_alive or self.server.draining:
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
        self.deadline = NEVER
        self._leave()
        return self.transport, self._parser.trailing_data

    def drain(self) -> None:
        """Closes now when idle, else after the current exchange."""
        if self.exchange is None and not self._closed:
            self.transport.close()

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        if self._lingering >= 0:
            self.transport.abort()
        elif self.exchange is not None:
            error = RemoteProtocolError("the request body stopped coming", status=408)
            self.exchange.downstream_lost(error)
            self.abort()
        elif self._parser.in_head:
            self._fail(RemoteProtocolError("the request head took too long", status=408))
        else:
            self.transport.close()

    # Inside

    def _leave(self) -> None:
        self.server.forget(self)
        callbacks, self.on_close = self.on_close, []
        for callback in callbacks:
            callback()

    def _rest(self) -> None:
        self._rest_deadline = self.deadline = self._loop.time() + self.options.idle_timeout

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
        self.deadline = NEVER
        exchange = Exchange(self, head)
        if self.requests >= self.options.max_requests or self.server.draining:
            exchange.keep_alive = False
        self.exchange = exchange
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
        # A pipelined request answered at once would recurse through exchange_finished; the loop
        # turns that into one more callback instead of one more stack frame.
        if self._parser.trailing_data:
            self._loop.call_soon(self._start_next)
        else:
            self._start_next()

    def _start_next(self) -> None:
        if self._closed or self.exchange is not None:
            return
        try:
            events = self._parser.start_next()
        except RemoteProtocolError as exc:
            self._fail(exc)
            return
        self._rest()
        self._dispatch(events)
        if len(self._parser.trailing_data) <= PIPELINE_BYTES:
            self.resume_reading()

    def _swallow(self, exchange: Exchange) -> None:
        """An early answer: read a short rest of the body so that the connection can live on."""
        self._rest()
        self.deadline = self._loop.time() + LINGER_TIMEOUT
        exchange.swallow_body(LINGER_BYTES, self._swallowed)
        self.resume_reading()

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
        self.exchange = None
        if complete or self.closed:
            self.transport.close()
            return
        self._lingering = LINGER_BYTES
        self.deadline = self._loop.time() + LINGER_TIMEOUT
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()


def _log_bad_request(connection: HttpConnection, error: RemoteProtocolError) -> None:
    get_logger().info(
        "request_refused",
        conn_id=connection.conn_id,
        status=error.answer_status,
        error=error.detail,
    )
