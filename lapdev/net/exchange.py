"""One request and its response, as the downstream side sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import (
    Framing,
    Headers,
    RequestHead,
    ResponseHead,
    chunk_bytes,
    framing_headers,
    last_chunk_bytes,
    response_bytes,
)

if TYPE_CHECKING:
    from lapdev.net.http_connection import HttpConnection

REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""The phrases people expect beside our own statuses; programs ignore them (RFC 9112 §4)."""

EARLY_BODY_BYTES = 65_536
"""Body bytes held while nobody reads them yet; above, the client is made to wait."""


class BodySink(Protocol):
    """Who receives a request body."""

    def body_data(self, data: bytes) -> None: ...
    def body_end(self, trailers: Headers) -> None: ...
    def body_aborted(self, error: Exception) -> None: ...


class ResponseFlow(Protocol):
    """Who produces the response, and can be slowed."""

    def pause_response(self) -> None: ...
    def resume_response(self) -> None: ...


class Exchange:
    """A request with its response to be. Methods never block and never raise on a lost client.

    A lost client is told to `on_abort` (or the body sink) once; afterwards writes go nowhere.
    """

    __slots__ = (
        "_bodyless",
        "_chunked",
        "_early",
        "_early_bytes",
        "_head_out",
        "_sink",
        "_swallow",
        "_trailers",
        "answer_timeout",
        "bytes_in",
        "bytes_out",
        "connection",
        "error",
        "finished",
        "flow",
        "keep_alive",
        "notes",
        "on_abort",
        "on_finished",
        "on_unanswered",
        "request",
        "request_complete",
        "started_at",
        "status",
    )

    def __init__(self, connection: HttpConnection, request: RequestHead) -> None:
        self.connection = connection
        self.request = request
        self.keep_alive = request.keep_alive
        self.request_complete = False
        self.finished = False
        self.status = 0
        self.error = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.started_at = asyncio.get_running_loop().time()
        self.flow: ResponseFlow | None = None
        self.on_abort: Callable[[Exception], None] | None = None
        self.on_finished: Callable[[Exchange], None] | None = None
        """Runs exactly once, at the end of the exchange, however it ends."""
        self.on_unanswered: Callable[[Exchange], None] | None = None
        self.answer_timeout = 0.0
        self.notes: dict[str, str] = {}
        """What the role wants in the access line: route, environment, workload."""
        self._sink: BodySink | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._trailers: Headers = []
        self._head_out = b""
        self._chunked = False
        self._bodyless = request.method == b"HEAD"
        self._swallow: tuple[int, Callable[[Exchange, bool], None]] | None = None

    # Request body

    @property
    def has_body(self) -> bool:
        """A body was announced, which may still be empty."""
        return self.request.framing is Framing.CHUNKED or self.request.content_length > 0

    def read_body(self, sink: BodySink) -> None:
        """`sink` gets the body, beginning with what has already arrived.

        Another sink may have had its end before, if that was all there was of it.
        """
        self._sink = sink
        early, self._early, self._early_bytes = self._early, [], 0
        # First, because the sink may have the client wait again at once.
        self.connection.resume_body()
        for data in early:
            sink.body_data(data)
        if self.request_complete:
            sink.body_end(self._trailers)

    def expect_answer(self, timeout: float, late: Callable[[Exchange], None]) -> None:
        """`late` runs if `timeout` seconds after the whole request no answer has begun."""
        self.answer_timeout, self.on_unanswered = timeout, late
        if self.request_complete:
            self.connection.await_answer(timeout)

    def answer_overdue(self) -> None:
        if self.on_unanswered is not None and not self.response_started:
            self.on_unanswered(self)

    def stop_reading_body(self) -> None:
        """The sink gets nothing more; what comes is held again."""
        self._sink = None
        self.connection.resume_body()

    @property
    def body_untouched(self) -> bool:
        """No sink has seen a body byte: the request can still go elsewhere."""
        return self.bytes_in == self._early_bytes

    def pause_body(self) -> None:
        self.connection.pause_body()

    def resume_body(self) -> None:
        self.connection.resume_body()

    async def read_whole_body(self, limit_bytes: int) -> bytes:
        """The complete body.

        Raises:
            RemoteProtocolError: status 413 when it is larger than `limit_bytes`.
            ConnectionError: the client left.
        """
        if self.request.content_length > limit_bytes:
            raise _too_large(limit_bytes)
        self.send_continue()
        collector = _Collector(limit_bytes)
        self.read_body(collector)
        return await collector.done

    def body_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        if self._swallow is not None:
            self._swallow_some(len(data))
            return
        self.connection.touch_body()
        if self._sink is not None:
            self._sink.body_data(data)
        else:
            self._early.append(data)
            self._early_bytes += len(data)
            if self._early_bytes > EARLY_BODY_BYTES:
                self.connection.pause_body()

    def body_completed(self, trailers: Headers) -> None:
        self.request_complete = True
        self._trailers = trailers
        self.connection.body_finished()
        if self._swallow is not None:
            self._swallow[1](self, True)
        elif self._sink is not None:
            self._sink.body_end(trailers)

    def swallow_body(self, limit_bytes: int, done: Callable[[Exchange, bool], None]) -> None:
        """Reads the rest of the body into nothing; `done(self, complete)` when it is over."""
        left = limit_bytes - self._early_bytes
        self._early.clear()
        self._sink = None
        self._swallow = (left, done)
        if left < 0:
            done(self, False)

    def _swallow_some(self, size: int) -> None:
        assert self._swallow is not None
        left, done = self._swallow
        self._swallow = (left - size, done)
        if left < size:
            done(self, False)

    # Response

    @property
    def response_started(self) -> bool:
        return self.status != 0

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """A whole, small answer. `headers` carry no framing and no Connection."""
        framing = Framing.NONE if status in (204, 304) else Framing.LENGTH
        reason = REASONS.get(status, b"")
        head = ResponseHead(
            status, reason, list(headers), framing=framing, content_length=len(body)
        )
        self.start_response(head)
        if body:
            self.send_data(body)
        self.end_response()

    def send_informational(self, head: ResponseHead) -> None:
        """A 1xx answer, ahead of the final one; unknown to HTTP/1.0 (RFC 9110 §15.2)."""
        if self.request.minor and not self.finished:
            self.connection.write(response_bytes(head))
            if head.status == 100 and not self.request_complete:
                self.connection.touch_body()  # from now on the client has no reason to wait

    def send_continue(self) -> None:
        """The body is wanted; a client that waits to hear it hears it."""
        if self.request.expect_continue and not self.request_complete:
            self.send_informational(ResponseHead(100, b"Continue", []))

    def start_response(self, head: ResponseHead) -> None:
        """The head is under way. `head.headers` carry no framing and no Connection field.

        It leaves with the first data, at the end, or with `flush`, so that one write carries both.
        """
        assert self.status == 0, "one exchange has one final response"
        self.status = head.status
        framing = head.framing
        if framing is Framing.UNTIL_CLOSE and self.request.minor:
            framing = Framing.CHUNKED
        if framing is Framing.CHUNKED and not self.request.minor:
            framing = Framing.UNTIL_CLOSE
        if framing is Framing.UNTIL_CLOSE:
            self.keep_alive = False
        self._bodyless = self._bodyless or head.status in (204, 304)
        self._chunked = framing is Framing.CHUNKED and not self._bodyless
        if not self.request_complete and self.request.expect_continue:
            # The client may or may not send its body now; only closing is unambiguous (row 22).
            self.keep_alive = False
        if self.connection.server.draining:
            self.keep_alive = False
        headers = head.headers + framing_headers(framing, head.content_length)
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        elif not self.request.minor:
            headers.append((b"connection", b"keep-alive"))
        self._head_out = response_bytes(ResponseHead(head.status, head.reason, headers))

    def send_data(self, data: bytes) -> None:
        if self.finished or self._bodyless or not data:
            return
        self.bytes_out += len(data)
        if self._chunked:
            data = chunk_bytes(data)
        if self._head_out:
            data, self._head_out = self._head_out + data, b""
        self.connection.write(data)

    def flush(self) -> None:
        """What is held back for joining leaves now."""
        if self._head_out:
            data, self._head_out = self._head_out, b""
            self.connection.write(data)

    def end_response(self, trailers: Headers | None = None) -> None:
        """The response is complete."""
        if self.finished:
            return
        tail = last_chunk_bytes(trailers or []) if self._chunked else b""
        if self._head_out or tail:
            self.connection.write(self._head_out + tail)
            self._head_out = b""
        self._finish("")
        self.connection.exchange_finished(self)

    def abort(self, error: str = "aborted") -> None:
        """The client sees the response break off, never a clean end."""
        if not self.finished:
            self._finish(error)
            self.connection.abort()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """The raw transport, and the bytes read after the head.

        The caller sets a protocol, and calls `finish_detached` when the connection is over.
        """
        self.status = self.status or 101
        return self.connection.detach()

    def finish_detached(self, error: str) -> None:
        """The connection that was detached is over; the access line can be written."""
        if not self.finished:
            self._finish(error)

    def downstream_lost(self, error: Exception) -> None:
        """The client is gone, or broke the protocol in the middle of its body."""
        if self.finished:
            return
        sink, self._sink = self._sink, None
        self.finished = True
        if sink is not None and not self.request_complete:
            sink.body_aborted(error)
        if self.on_abort is not None:
            self.on_abort(error)
        # Whoever is told last may let go of what the others have to reset.
        self._finish("downstream_closed")

    def _finish(self, error: str) -> None:
        self.finished = True
        self.error = self.error or error
        if self.on_finished is not None:
            self.on_finished(self)


class _Collector:
    """Gathers a small body."""

    def __init__(self, limit_bytes: int) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._left = limit_bytes
        self._limit = limit_bytes

    def body_data(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._parts.clear()
            if not self.done.done():
                self.done.set_exception(_too_large(self._limit))
            return
        self._parts.append(data)

    def body_end(self, trailers: Headers) -> None:
        if not self.done.done():
            self.done.set_result(b"".join(self._parts))

    def body_aborted(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(str(error)))


def _too_large(limit_bytes: int) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"the request body is larger than {limit_bytes} bytes",
        status=413,
        hint="send less, or in parts",
    )
