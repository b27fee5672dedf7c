"""Plain HTTP through the laptop's proxy: each request goes to the service its URL names.

A client may use one connection for requests to many services; each service gets its own stream,
kept for as long as the client's connection lives and shared with nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lapdev.errors import LapdevError, NoRoute, UpstreamError
from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.http_server import HttpServer, ServerOptions
from lapdev.net.proxy import Forwarding, forward
from lapdev.tunnel import Stream
from lapdev.wire.http1 import (
    INNER_LIMITS,
    RequestHead,
    header,
    strip_hop_by_hop,
    without_framing,
)

UPSTREAMS = "devbox.upstreams"
"""Key of a client connection's own upstream connections, by `host:port`."""

_FOR_THE_PROXY = (b"proxy-authorization", b"proxy-connection")


class Services(Protocol):
    """What forwarding needs from the session."""

    def open_service(self, host: str, port: int, protocol: asyncio.Protocol) -> Stream: ...


@dataclass(slots=True)
class _Attempt:
    """One request on its way to one service."""

    head: RequestHead
    host: str
    port: int
    upstreams: dict[tuple[str, int], UpstreamConnection]
    first: bool = field(default=True)


class PlainRequests:
    """Serves the proxy's connections that turned out to speak plain HTTP."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._server = HttpServer(self._handle, ServerOptions(limits=INNER_LIMITS))

    def take_over(self, transport: asyncio.Transport, received: bytes) -> None:
        """The connection is served from here on; `received` is what it has sent so far."""
        connection = self._server.connection()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(received)

    def abort(self) -> None:
        """Every connection is cut."""
        for connection in list(self._server.connections):
            connection.abort()

    # Inside

    def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        host, port = _authority(request)
        headers = without_framing(strip_hop_by_hop(request.headers))
        kept = [(name, value) for name, value in headers if name.lower() not in _FOR_THE_PROXY]
        head = RequestHead(
            request.method,
            request.target,
            1,
            kept,
            request.host,
            request.framing,
            request.content_length,
            upgrade=request.upgrade,
        )
        self._send(exchange, _Attempt(head, host, port, _upstreams_of(exchange)))

    def _send(self, exchange: Exchange, attempt: _Attempt) -> None:
        try:
            upstream = self._connection(attempt)
        except LapdevError as exc:
            answer(exchange, exc)
            return

        def failed(exchange: Exchange, error: Exception, safe_to_retry: bool) -> None:
            attempt.upstreams.pop((attempt.host, attempt.port), None)
            if attempt.first and safe_to_retry and upstream.served > 1:
                attempt.first = False
                self._send(exchange, attempt)
            else:
                answer(exchange, error if isinstance(error, LapdevError) else UpstreamError())

        forward(exchange, attempt.head, upstream, Forwarding(failed))

    def _connection(self, attempt: _Attempt) -> UpstreamConnection:
        key = (attempt.host, attempt.port)
        known = attempt.upstreams.get(key)
        if known is not None:
            if known.reusable:
                return known
            known.close()
        upstream = UpstreamConnection(INNER_LIMITS)
        self._services.open_service(attempt.host, attempt.port, upstream)
        attempt.upstreams[key] = upstream
        return upstream


def answer(exchange: Exchange, error: LapdevError) -> None:
    """The exchange is answered with the error in plain words: its reader is a program's log."""
    if exchange.response_started:
        exchange.abort(error.cause)
        return
    status = 502 if isinstance(error, NoRoute) else error.status
    text = f"lapdev devbox: {error.detail}\n" + (f"{error.hint}\n" if error.hint else "")
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"lapdev-error", f"{error.cause}; hop={error.hop or 'devbox'}".encode()),
    ]
    exchange.respond(status, headers, text.encode())


def _authority(request: RequestHead) -> tuple[str, int]:
    """Host and port that the request's URL named; the parser has put both into Host."""
    _, colon, port = (header(request.headers, b"host") or b"").rpartition(b":")
    return request.host.decode("latin-1"), int(port) if colon and port.isdigit() else 80


def _upstreams_of(exchange: Exchange) -> dict[tuple[str, int], UpstreamConnection]:
    state = exchange.connection.state
    upstreams: dict[tuple[str, int], UpstreamConnection] | None = state.get(UPSTREAMS)
    if upstreams is None:
        upstreams = state[UPSTREAMS] = {}
        exchange.connection.on_close.append(_closing(upstreams))
    return upstreams


def _closing(upstreams: dict[tuple[str, int], UpstreamConnection]) -> Callable[[], None]:
    def close() -> None:
        for upstream in upstreams.values():
            upstream.close()
        upstreams.clear()

    return close
