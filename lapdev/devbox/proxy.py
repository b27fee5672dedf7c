"""The laptop's proxy: one loopback port that speaks HTTP proxy (CONNECT and plain) and SOCKS5.

Every name is looked up in the active environment and nowhere else, so that a program told to use
this proxy never leaks an in-cluster name into the laptop's DNS, nor reaches the internet by it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, cast

from lapdev.devbox import socks
from lapdev.devbox.forwarding import PlainRequests
from lapdev.errors import LapdevError, NoRoute, NotReady, UpstreamError
from lapdev.net.listener import Listener, listen
from lapdev.net.relay import Waiting, relay
from lapdev.tunnel import Stream

HANDSHAKE_TIMEOUT = 10.0
"""From the first byte of a client until its connection is through to the service."""

CONNECT_HEAD_BYTES = 16_384

_CONNECT = re.compile(rb"CONNECT ([^\s:/?#@\[\]]+):([0-9]{1,5}) HTTP/1\.[01]\r?\n")


class Services(Protocol):
    """What the proxy needs from the session."""

    def open_service(self, host: str, port: int, protocol: asyncio.Protocol) -> Stream: ...


class Proxy:
    """The listener and what is open through it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.plain = PlainRequests(services)
        self.open: set[asyncio.Transport] = set()
        self._listener: Listener | None = None

    async def start(self, address: str) -> str:
        """Listening; returns where."""
        self._listener = await listen(address, lambda: ProxyConnection(self))
        return str(self._listener.address)

    async def aclose(self) -> None:
        """Nothing is accepted any more and what was open is cut. Idempotent."""
        if self._listener is not None:
            await self._listener.aclose()
        self.plain.abort()
        for transport in list(self.open):
            transport.abort()


class ProxyConnection(asyncio.Protocol):
    """A client whose first bytes say what it speaks; then it is handed over."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._buffer = b""
        self._advance: Callable[[], None] = self._tell_protocol
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle
        self._answer_refusal: Callable[[LapdevError], bytes] = _http_refusal

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._transport = transport
        self._proxy.open.add(transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_TIMEOUT, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._advance()
        except ValueError:
            self._transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._proxy.open.discard(self._transport)

    # What does it speak?

    def _tell_protocol(self) -> None:
        if self._buffer[0] == socks.VERSION:
            self._become(self._greet)
        elif self._buffer.startswith(b"CONNECT "):
            self._become(self._connect)
        elif not b"CONNECT ".startswith(self._buffer[:8]):
            self._hand_to_http()

    def _become(self, step: Callable[[], None]) -> None:
        self._advance = step
        step()

    def _hand_to_http(self) -> None:
        self._deadline.cancel()
        self._proxy.open.discard(self._transport)
        self._proxy.plain.take_over(self._transport, self._buffer)

    # HTTP CONNECT

    def _connect(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > CONNECT_HEAD_BYTES:
                raise ValueError("head too long")
            return
        match = _CONNECT.match(self._buffer)
        self._buffer = self._buffer[end + 4 :]
        if match is None:
            self._refuse(NoRoute("CONNECT needs a service name and a port, like api:8080"))
            return
        self._open(match[1].decode("latin-1"), int(match[2]), _HTTP_ESTABLISHED)

    # SOCKS5

    def _greet(self) -> None:
        self._answer_refusal = _socks_refusal
        greeting = socks.read_greeting(self._buffer)
        if greeting is not None:
            answer, self._buffer = greeting
            self._transport.write(answer)
            self._become(self._read_request)

    def _read_request(self) -> None:
        found = socks.read_request(self._buffer)
        if found is None:
            return
        request, self._buffer = found
        if request.refusal is not None:
            self._end_with(socks.reply(request.refusal))
        else:
            self._open(request.host, request.port, socks.reply(socks.Reply.SUCCEEDED))

    # The stream

    def _open(self, host: str, port: int, success: bytes) -> None:
        self._transport.pause_reading()
        self._advance = _nothing

        def accepted(stream: Stream) -> None:
            self._join(stream, success)

        try:
            self._proxy.services.open_service(host, port, _Outbound(accepted, self._refuse))
        except LapdevError as exc:
            self._refuse(exc)

    def _join(self, stream: Stream, success: bytes) -> None:
        if self._transport.is_closing():
            stream.abort()
            return
        self._deadline.cancel()
        self._transport.write(success)
        transport, opened = self._transport, self._proxy.open
        joined = relay(transport, stream, lambda _: opened.discard(transport))
        if self._buffer:
            joined.from_a(self._buffer)

    def _refuse(self, error: LapdevError) -> None:
        self._end_with(self._answer_refusal(error))

    def _end_with(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._transport.close()


class _Outbound(Waiting):
    """Holds the stream still until the other end has accepted or refused it."""

    def __init__(
        self, accepted: Callable[[Stream], None], refused: Callable[[LapdevError], None]
    ) -> None:
        super().__init__()
        self._accepted = accepted
        self._refused = refused

    def stream_accepted(self) -> None:
        assert isinstance(self.transport, Stream)
        self._accepted(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._refused(exc if isinstance(exc, LapdevError) else UpstreamError())


_HTTP_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def _nothing() -> None:
    """Bytes that come while the stream opens are kept for it."""


def explain(error: LapdevError) -> str:
    """The error as one or two lines for a person."""
    return f"lapdev devbox: {error.detail}\n" + (f"{error.hint}\n" if error.hint else "")


def _http_refusal(error: LapdevError) -> bytes:
    status = b"503 Service Unavailable" if isinstance(error, NotReady) else b"502 Bad Gateway"
    body = explain(error).encode()
    return (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"lapdev-error: %b; hop=devbox\r\nConnection: close\r\n\r\n%b"
    ) % (status, len(body), error.cause.encode(), body)


def _socks_refusal(error: LapdevError) -> bytes:
    if isinstance(error, NoRoute):
        return socks.reply(socks.Reply.HOST_UNREACHABLE)
    return socks.reply(socks.Reply.CONNECTION_REFUSED)
