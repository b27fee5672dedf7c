"""Carries one exchange over one upstream connection: what edge and sidecar share.

The role decides where a request goes and edits its headers; from there on both do the same thing:
stream the body up, the answer down, slow whoever is faster, and never turn a broken answer into a
clean one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lapdev.errors import RemoteProtocolError, UpstreamError
from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.relay import Relay
from lapdev.net.switched import SwitchedConnection
from lapdev.wire.http1 import (
    Framing,
    Headers,
    RequestHead,
    ResponseHead,
    framing_headers,
    response_bytes,
    strip_hop_by_hop,
    without_framing,
)

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""RFC 9110 §9.2.2, without TRACE, which we never forward."""


@dataclass(slots=True)
class Forwarding:
    """What the role wants done at the turning points of an exchange."""

    on_failed: Callable[[Exchange, Exception, bool], None]
    """(exchange, error, safe_to_retry): failed before a byte of a response left for downstream."""
    edit_response: Callable[[ResponseHead], None] | None = None
    """May change the final response's head before it is sent on."""


def forward(
    exchange: Exchange, head: RequestHead, upstream: UpstreamConnection, plan: Forwarding
) -> None:
    """The exchange runs over `upstream`, which is connected and idle. Returns at once.

    `head.headers` are end-to-end fields without framing; this adds framing and Connection.
    """
    _Carrier(exchange, head, upstream, plan)


class _Carrier:
    """BodySink, ResponseFlow and ResponseSink of one exchange."""

    __slots__ = ("_exchange", "_head", "_plan", "_switched", "_upstream")

    def __init__(
        self, exchange: Exchange, head: RequestHead, upstream: UpstreamConnection, plan: Forwarding
    ) -> None:
        self._exchange = exchange
        self._upstream = upstream
        self._plan = plan
        self._head = head
        self._switched: Callable[[bytes], None] | None = None
        exchange.flow = self
        exchange.on_abort = self._downstream_lost
        upstream.send_request(_with_framing(head), self)
        if head.framing is not Framing.NONE:
            exchange.read_body(self)

    # BodySink: downstream → upstream

    def body_data(self, data: bytes) -> None:
        self._upstream.send_data(data)

    def body_end(self, trailers: Headers) -> None:
        self._upstream.end_request(trailers)

    def body_aborted(self, error: Exception) -> None:
        """A cut body must not look whole to the app: `_downstream_lost` resets the connection."""

    def pause_request(self) -> None:
        self._exchange.pause_body()

    def resume_request(self) -> None:
        self._exchange.resume_body()

    # ResponseSink: upstream → downstream

    def response_head(self, head: ResponseHead) -> None:
        if head.framing is Framing.SWITCHED:
            self._switch(head)
            return
        keep_framing = self._head.method == b"HEAD" or head.status == 304
        headers = strip_hop_by_hop(head.headers)
        head.headers = headers if keep_framing else without_framing(headers)
        if head.status < 200:
            self._exchange.send_informational(head)
            return
        if self._plan.edit_response is not None:
            self._plan.edit_response(head)
        self._exchange.start_response(head)
        if self._exchange.connection.write_paused:
            self._upstream.pause_reading()

    def response_data(self, data: bytes) -> None:
        if self._switched is not None:
            self._switched(data)
        else:
            self._exchange.send_data(data)

    def response_end(self, trailers: Headers) -> None:
        exchange = self._exchange
        exchange.flow = None
        exchange.on_abort = None
        exchange.stop_reading_body()
        exchange.end_response(trailers)

    def response_flush(self) -> None:
        self._exchange.flush()

    def response_failed(self, error: Exception) -> None:
        exchange = self._exchange
        exchange.flow = None
        exchange.on_abort = None
        if exchange.response_started:
            exchange.abort("upstream_closed")
            return
        untouched = exchange.body_untouched
        exchange.stop_reading_body()
        retry = untouched and not self._upstream.answered and self._head.method in IDEMPOTENT
        if isinstance(error, RemoteProtocolError):
            error = UpstreamError(f"the app's answer is not valid HTTP: {error.detail}")
        self._plan.on_failed(exchange, error, retry)

    # ResponseFlow: the client reads slower than the app writes

    def pause_response(self) -> None:
        self._upstream.pause_reading()

    def resume_response(self) -> None:
        self._upstream.resume_reading()

    # Inside

    def _downstream_lost(self, error: Exception) -> None:
        self._upstream.abort()

    def _switch(self, head: ResponseHead) -> None:
        """101: from here on both connections carry another protocol, raw."""
        exchange, upstream = self._exchange, self._upstream
        if not self._head.upgrade or not exchange.request_complete:
            # In the middle of the body nobody could say where the new protocol begins.
            upstream.abort()
            self.response_failed(UpstreamError("the app switched protocols unasked"))
            return
        if self._plan.edit_response is not None:
            self._plan.edit_response(head)
        exchange.flow = None
        exchange.on_abort = None
        above = upstream.detach()
        below, early = exchange.detach()
        if below.is_closing():
            above.abort()
            exchange.finish_detached("downstream_closed")
            return
        below.write(response_bytes(head))

        def done(ended: Relay) -> None:
            exchange.bytes_in, exchange.bytes_out = ended.bytes_from_a, ended.bytes_from_b
            exchange.finish_detached("")

        websocket = self._head.upgrade.lower() == b"websocket"
        server = exchange.connection.server
        joined = SwitchedConnection(server, below, above, done, websocket=websocket).relay
        # Each side tells of a change only, and these were paused before it was told.
        if exchange.connection.write_paused:
            above.pause_reading()
        if upstream.write_paused:
            below.pause_reading()
        # What came behind the 101 in the same read still arrives through `response_data`.
        self._switched = joined.from_b
        if early:
            joined.from_a(early)
        if exchange.connection.ended:
            joined.eof_from_a()


def _with_framing(head: RequestHead) -> RequestHead:
    headers = head.headers + framing_headers(head.framing, head.content_length)
    if head.upgrade:
        headers.append((b"connection", b"Upgrade"))
        headers.append((b"upgrade", head.upgrade))
    return RequestHead(
        head.method,
        head.target,
        1,
        headers,
        head.host,
        head.framing,
        head.content_length,
        upgrade=head.upgrade,
    )
