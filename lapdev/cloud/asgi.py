"""The bridge: serves an ASGI 3.0 app (http scope) on our own listener.

Bodies stream both ways and are slowed by whoever is slower. No lifespan: what an app needs is
opened and closed by whoever makes it. A client that leaves cancels its call; one that only closes
its sending side after the request still gets its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from lapdev.errors import LapdevError, RemoteProtocolError
from lapdev.log import get_logger
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.tasks import Tasks
from lapdev.wire.http1 import Framing, Headers, RequestHead, ResponseHead, header

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

BODY_LIMIT_BYTES = 1_048_576
HELD_BODY_BYTES = 65_536
"""Body bytes that wait for the app; above, the client is made to wait."""

_HOP = "cloud"
_FRAMING = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})


class AsgiBridge:
    """Runs one call of the app, in a task of its own, for each exchange it is given."""

    def __init__(
        self, app: AsgiApp, tasks: Tasks, body_limit_bytes: int = BODY_LIMIT_BYTES
    ) -> None:
        """`tasks` owns the calls: closing it cancels those that still run."""
        self._app = app
        self._tasks = tasks
        self._limit = body_limit_bytes

    def handle(self, exchange: Exchange) -> None:
        """The exchange is answered by the app; a body over the limit by 413, without the app."""
        if exchange.request.content_length > self._limit:
            respond_error(exchange, _too_large(self._limit), _HOP)
            return
        call = _Call(exchange, self._limit)
        name = f"api {exchange.request.method.decode('latin-1')}"
        call.task = self._tasks.spawn(call.run(self._app), name)


class _Call:
    """One call: the exchange's body sink and response flow, and the app's receive and send."""

    def __init__(self, exchange: Exchange, limit_bytes: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._exchange = exchange
        self._limit = limit_bytes
        self._left = limit_bytes
        self._reading = False
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._body_complete = False
        self._body_delivered = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._head: ResponseHead | None = None
        self._owed = -1  # bytes the declared length still lacks; -1: none was declared
        exchange.flow = self
        exchange.on_abort = self.body_aborted

    async def run(self, app: AsgiApp) -> None:
        """The exchange is finished, whatever the app does."""
        exchange = self._exchange
        try:
            await app(_scope(exchange), self._receive, self._send)
        except asyncio.CancelledError:
            exchange.abort("cancelled")
            raise
        except Exception as exc:
            get_logger().error("exchange_failed", conn_id=exchange.connection.conn_id, exc_info=exc)
            self._fail()
        else:
            if not exchange.finished:
                get_logger().error("exchange_failed", error="the app left its answer incomplete")
                self._fail()

    def _fail(self) -> None:
        if not self._exchange.finished:
            respond_error(self._exchange, LapdevError(hint="the cloud's log says more"), _HOP)

    # The app's side

    async def _receive(self) -> Message:
        if not self._reading:
            self._start_reading()
        while not self._pieces and not (self._body_complete and not self._body_delivered):
            # Either more of the body is to come, or all the app can learn is that the client
            # left, which cancels this wait.
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft() if self._pieces else b""
        before, self._held_bytes = self._held_bytes, self._held_bytes - len(piece)
        if self._held_bytes <= HELD_BODY_BYTES < before and not self._body_complete:
            self._exchange.resume_body()
        self._body_delivered = self._body_complete and not self._pieces
        return {"type": "http.request", "body": piece, "more_body": not self._body_delivered}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._head = _response_head(int(message["status"]), headers)
            return
        if message["type"] != "http.response.body":
            raise ValueError(f"unknown ASGI message {message['type']!r}")
        self._send_body(bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        await self._writable.wait()

    def _send_body(self, data: bytes, more: bool) -> None:
        exchange = self._exchange
        if exchange.finished:
            return
        if not exchange.response_started:
            if self._head is None:
                raise ValueError("the app sent a body before its head")
            if self._head.framing is Framing.CHUNKED and not more:
                self._head.framing, self._head.content_length = Framing.LENGTH, len(data)
            declared = self._head.framing is Framing.LENGTH
            self._owed = self._head.content_length if declared else -1
            exchange.start_response(self._head)
        if self._owed >= 0 and exchange.request.method != b"HEAD":
            self._owed -= len(data)
            if self._owed < 0 or (self._owed and not more):
                raise ValueError("the app's body is not as long as it declared")
        exchange.send_data(data)
        if more:
            exchange.flush()
        else:
            exchange.end_response()

    # BodySink

    def _start_reading(self) -> None:
        exchange = self._exchange
        self._reading = True
        exchange.send_continue()
        exchange.read_body(self)

    def body_data(self, data: bytes) -> None:
        """A piece arrived; past the limit the call is over."""
        self._left -= len(data)
        if self._left < 0:
            self._refuse()
            return
        self._pieces.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BODY_BYTES:
            self._exchange.pause_body()
        self._arrived.set()

    def body_end(self, trailers: Headers) -> None:
        """All of the body arrived."""
        self._body_complete = True
        self._arrived.set()

    def body_aborted(self, error: Exception) -> None:
        """The client left."""
        if self.task is not None:
            self.task.cancel()

    def _refuse(self) -> None:
        self._exchange.stop_reading_body()
        if not self._exchange.finished:
            respond_error(self._exchange, _too_large(self._limit), _HOP)
        if self.task is not None:
            self.task.cancel()

    # ResponseFlow

    def pause_response(self) -> None:
        """The client reads slowly: the app waits in its next send."""
        self._writable.clear()

    def resume_response(self) -> None:
        """The client caught up."""
        self._writable.set()


def _scope(exchange: Exchange) -> Message:
    request: RequestHead = exchange.request
    raw_path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": f"1.{request.minor}",
        "method": request.method.decode("latin-1"),
        "scheme": "https" if exchange.connection.tls else "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers],
        "client": (exchange.connection.peer, 0),
        "server": None,
    }


def _response_head(status: int, headers: Headers) -> ResponseHead:
    """The head with its framing told apart: the exchange writes that itself."""
    length = header(headers, b"content-length")
    kept = [(name, value) for name, value in headers if name.lower() not in _FRAMING]
    if status in (204, 304):
        return ResponseHead(status, b"", kept)
    if length is None:
        return ResponseHead(status, b"", kept, framing=Framing.CHUNKED)
    return ResponseHead(status, b"", kept, framing=Framing.LENGTH, content_length=int(length))


def _too_large(limit_bytes: int) -> RemoteProtocolError:
    error = RemoteProtocolError(
        f"the body is larger than {limit_bytes} bytes", status=413, hint="send less"
    )
    error.cause = "body_too_large"
    return error
