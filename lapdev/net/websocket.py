"""Websockets for the tunnel: the one file that knows the `websockets` library (RFC 6455).

Only its sans-I/O core is used: the handshake and the framing. Here are the transport, the limits
and the joining of fragments. Binary messages only, never compression: inside a tunnel the bytes
are the app's own, and a compressed message could inflate beyond every limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as Core
from websockets.protocol import Side, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from lapdev.errors import TunnelRefused
from lapdev.wire.http1.events import RequestHead

ABNORMAL = 1006
MAX_REASON_BYTES = 123  # RFC 6455 §5.5: a control frame carries 125 bytes, two of them the code

# At DEBUG the library logs whole header blocks, credentials included.
_logger = logging.getLogger("lapdev.websocket")
_logger.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class WebsocketOptions:
    subprotocol: str
    max_message_bytes: int = 1_048_576
    high_water_bytes: int = 262_144
    """`pause_writing` above this many bytes in the transport."""
    max_buffered_bytes: int = 8_388_608
    """A peer that makes us answer and never reads is cut off here."""
    close_timeout: float = 2.0
    """From our close frame to a peer that does not close."""


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """Where the websocket request goes: the transport is connected already."""

    host: str
    port: int
    secure: bool
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class WebsocketListener(Protocol):
    """Who is told what happens. Callbacks do not raise."""

    def websocket_opened(self, websocket: WebsocketConnection) -> None: ...
    def bytes_received(self) -> None: ...
    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None: ...


class Unheard:
    """The listener of a websocket that nobody has a use for any more."""

    def websocket_opened(self, websocket: WebsocketConnection) -> None: ...
    def bytes_received(self) -> None: ...
    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None: ...


@dataclass(slots=True)
class Lost:
    """How a websocket ended."""

    code: int
    """The close code, ours if the peer sent none; 1006 when the connection just broke."""
    reason: str
    error: Exception | None = None
    """The transport's error, or a TunnelRefused when the handshake failed."""

    def __str__(self) -> str:
        detail = self.reason or (str(self.error) if self.error else "") or "connection lost"
        return detail if self.code == ABNORMAL else f"{detail} (close code {self.code})"


class WebsocketConnection(asyncio.Protocol):
    """One websocket over a given transport, either end of it."""

    def __init__(
        self,
        core: Core,
        listener: WebsocketListener,
        options: WebsocketOptions,
    ) -> None:
        self.listener = listener
        self.on_closed: Callable[[Lost], None] | None = None
        """Runs once at the very end, whoever is the listener by then."""
        self._core = core
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._answer: Response | None = None
        self._fragments: list[bytes] = []
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None
        self._refused: TunnelRefused | None = None
        self._closing = False
        """We have closed: nothing that comes is wanted any more."""
        self._lost = False

    @classmethod
    def client(
        cls, target: ClientTarget, listener: WebsocketListener, options: WebsocketOptions
    ) -> Self:
        """A protocol for a fresh transport; the handshake starts with `connection_made`."""
        uri = WebSocketURI(target.secure, target.host, target.port, target.path, "", None, None)
        core = ClientProtocol(
            uri,
            subprotocols=[Subprotocol(options.subprotocol)],
            max_size=options.max_message_bytes,
            logger=_logger,
        )
        connection = cls(core, listener, options)
        connection._request = core.connect()
        for name, value in target.headers:
            connection._request.headers[name] = value
        return connection

    @classmethod
    def server(
        cls, head: RequestHead, listener: WebsocketListener, options: WebsocketOptions
    ) -> Self:
        """A protocol for the transport that `head` came on, to be set by `take_over`."""
        # The request has been parsed already: the library's server answers it, and what follows
        # is framing only, the same for both ends.
        core = Core(Side.SERVER, max_size=options.max_message_bytes, logger=_logger)
        connection = cls(core, listener, options)
        connection._answer = _answer(head, options)
        return connection

    def take_over(self, transport: asyncio.Transport, leftover: bytes) -> None:
        """The handshake is answered on a transport somebody else has read the request from."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if not transport.is_closing():
            transport.resume_reading()
        if leftover:
            self.data_received(leftover)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._transport = transport
        transport.set_write_buffer_limits(high=self._options.high_water_bytes)
        _keep_little_unsent(transport, self._options.high_water_bytes // 2)
        if isinstance(self._core, ClientProtocol):
            assert self._request is not None
            self._core.send_request(self._request)
            self._request = None
            self._flush()
        elif self._answer is not None and not transport.is_closing():
            self._send_answer(transport, self._answer)
            self._answer = None

    def data_received(self, data: bytes) -> None:
        if self._lost:
            return
        self.listener.bytes_received()
        self._core.receive_data(data)
        for event in self._core.events_received():
            self._handle(event)
        self._note_failed_handshake()
        self._flush()

    def eof_received(self) -> bool:
        self._core.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._core.receive_eof()
        self._note_failed_handshake()
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        lost = self._how(exc)
        self.listener.websocket_lost(self, lost)
        if self.on_closed is not None:
            self.on_closed(lost)

    def pause_writing(self) -> None:
        self.listener.pause_writing()

    def resume_writing(self) -> None:
        self.listener.resume_writing()

    # For the listener

    def send(self, message: bytes) -> None:
        """The message leaves, unless the websocket is closing: then it goes nowhere."""
        transport = self._transport
        if self._core.state is not State.OPEN or transport is None:
            return
        self._core.send_binary(message)
        self._flush()
        if transport.get_write_buffer_size() > self._options.max_buffered_bytes:
            transport.abort()

    def close(self, code: int, reason: str = "") -> None:
        """The peer is told; the connection ends within `close_timeout`. Idempotent."""
        self._closing = True
        if self._core.state is State.OPEN:
            short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            self._core.fail(code, short)
            self._flush()
            self._expect_close()
        elif self._core.state is State.CONNECTING:
            self.abort()

    def abort(self) -> None:
        """The connection is gone, without a word to the peer."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """The connection has ended."""
        if self._lost or self._transport is None:
            return
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._closed)

    # Inside

    def _note_failed_handshake(self) -> None:
        if self._core.handshake_exc is not None and self._refused is None:
            self._refused = TunnelRefused(f"no websocket answer: {self._core.handshake_exc}")

    def _send_answer(self, transport: asyncio.Transport, answer: Response) -> None:
        transport.write(answer.serialize())
        if answer.status_code == 101:
            self.listener.websocket_opened(self)
            return
        self._refused = TunnelRefused("no websocket request", answer_status=answer.status_code)
        transport.close()

    def _handle(self, event: object) -> None:
        if isinstance(event, Frame):
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._handle_data(event)
            elif event.opcode is Opcode.TEXT:
                self.close(1003, "only binary messages are spoken here")
        elif isinstance(event, Response):
            if self._core.handshake_exc is None:
                self.listener.websocket_opened(self)
            else:
                self._refused = _refusal(event)

    def _handle_data(self, frame: Frame) -> None:
        # What came before the peer's own close frame counts, be it in the same read.
        if self._closing:
            return
        message = bytes(frame.data)
        if self._fragments or not frame.fin:
            # The core has already checked the sum against max_message_bytes.
            self._fragments.append(message)
            if not frame.fin:
                return
            message = b"".join(self._fragments)
            self._fragments = []
        self.listener.message_received(self, message)

    def _flush(self) -> None:
        transport = self._transport
        for data in self._core.data_to_send():
            # uvloop raises on a write after close.
            if transport is None or transport.is_closing():
                continue
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()
                self._expect_close()
            else:
                transport.close()

    def _expect_close(self) -> None:
        if self._close_timer is None and not self._lost:
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(self._options.close_timeout, self.abort)

    def _how(self, exc: Exception | None) -> Lost:
        if self._refused is not None:
            return Lost(ABNORMAL, "", self._refused)
        close = self._core.close_rcvd or self._core.close_sent
        if close is None:
            return Lost(ABNORMAL, "", exc)
        return Lost(close.code, close.reason, exc)


def _answer(head: RequestHead, options: WebsocketOptions) -> Response:
    """101 and what belongs to it, or the error that the request deserves (RFC 6455 §4.2)."""
    handshake = ServerProtocol(subprotocols=[Subprotocol(options.subprotocol)], logger=_logger)
    if head.method != b"GET" or head.minor == 0:
        return handshake.reject(400, "A websocket begins with an HTTP/1.1 GET.\n")
    headers = Headers()
    for name, value in head.headers:
        headers[name.decode("latin-1")] = value.decode("latin-1")
    return handshake.accept(Request(head.target.decode("latin-1"), headers))


def _refusal(response: Response) -> TunnelRefused:
    """What the other end says about a request it did not upgrade."""
    status = response.status_code
    detail = ""
    # A proxy's page is not our JSON, and says nothing worth repeating.
    with contextlib.suppress(ValueError, TypeError, LookupError):
        document: Any = json.loads(bytes(response.body or b"")[:65_536])
        detail = str(document["error"]["detail"])[:300]
    hint = "check the token" if status in (401, 403) else ""
    text = f"the other end answered {status}" + (f": {detail}" if detail else "")
    return TunnelRefused(text, answer_status=status, hint=hint)


def _keep_little_unsent(transport: asyncio.Transport, size: int) -> None:
    """What waits in the kernel cannot be overtaken by a later control frame: let little wait."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if sock is not None and option is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, size)
