"""Websockets for the tunnel: a frame reader and writer on a transport, either end of it.

The opening handshake is `websocket_handshake`'s, the framing `lapdev.wire.websocket`'s. Here are
the transport, the limits and the endings. Binary messages only, never compression: inside a tunnel
the bytes are the app's own, and a compressed message could inflate beyond every limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self, cast

from lapdev.errors import TunnelRefused
from lapdev.net.buffers import keep_little_unsent, read_buffer
from lapdev.net.pace import Pace
from lapdev.net.websocket_handshake import (
    ClientHandshake,
    ServerAnswer,
    apply_mask,
    server_answer,
)
from lapdev.net.websocket_handshake import (
    ClientTarget as ClientTarget,
)
from lapdev.wire.http1.events import RequestHead
from lapdev.wire.websocket import (
    BINARY,
    CLOSE,
    PONG,
    CloseReceived,
    FrameReader,
    FramesBroken,
    PingReceived,
    close_payload,
    frame_head,
)
from lapdev.wire.websocket import (
    Message as Message,
)

ABNORMAL = 1006
LEAST_ROOM = 1_024
"""Never none: what is not sent is not reported as sent either, and nobody would ask again."""
MEASURED_BYTES = 4_096
"""Less than this at once says nothing of how fast the line is."""
JOIN_BYTES = 16_384
"""A message up to this goes to the transport in one piece with its head."""
KEY_BYTES = 4_096
"""Random for the keys of a thousand frames: each system call costs as much as a frame."""


@dataclass(frozen=True, slots=True)
class WebsocketOptions:
    subprotocol: str
    max_message_bytes: int = 1_048_576
    max_buffered_bytes: int = 8_388_608
    """A peer that makes us answer and never reads is cut off here."""
    close_timeout: float = 2.0
    """From our close frame to a peer that does not close."""


class _State(IntEnum):
    CONNECTING = 0
    OPEN = 1
    CLOSING = 2  # a close frame was sent, or will never be: nothing that comes is wanted


class WebsocketListener(Protocol):
    """Who is told what happens. Callbacks do not raise."""

    def websocket_opened(self, websocket: WebsocketConnection) -> None: ...
    def bytes_received(self) -> None: ...
    def message_received(self, websocket: WebsocketConnection, message: Message) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None: ...


class Unheard:
    """The listener of a websocket that nobody has a use for any more."""

    def websocket_opened(self, websocket: WebsocketConnection) -> None: ...
    def bytes_received(self) -> None: ...
    def message_received(self, websocket: WebsocketConnection, message: Message) -> None: ...
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


class WebsocketConnection(asyncio.BufferedProtocol):
    """One websocket over a given transport, either end of it."""

    def __init__(
        self,
        opening: ClientHandshake | ServerAnswer,
        listener: WebsocketListener,
        options: WebsocketOptions,
    ) -> None:
        self.listener = listener
        self.on_closed: Callable[[Lost], None] | None = None
        """Runs once at the very end, whoever is the listener by then."""
        self._opening: ClientHandshake | ServerAnswer | None = opening
        self._is_client = isinstance(opening, ClientHandshake)
        self._options = options
        self._reader = FrameReader(
            masked=not self._is_client,
            max_message_bytes=options.max_message_bytes,
            apply_mask=apply_mask,
        )
        self._transport: asyncio.Transport | None = None
        self._state = _State.CONNECTING
        self._keys = b""
        self._keys_used = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None
        self._pace = Pace()
        self._written = 0
        """Bytes, to the transport."""
        self._how: Lost | None = None
        """How it ended, as soon as that is known."""
        self._lost = False

    @classmethod
    def client(
        cls, target: ClientTarget, listener: WebsocketListener, options: WebsocketOptions
    ) -> Self:
        """A protocol for a fresh transport; the handshake starts with `connection_made`."""
        return cls(ClientHandshake(target, options.subprotocol), listener, options)

    @classmethod
    def server(
        cls, head: RequestHead, listener: WebsocketListener, options: WebsocketOptions
    ) -> Self:
        """A protocol for the transport that `head` came on, to be set by `take_over`."""
        return cls(server_answer(head, options.subprotocol), listener, options)

    def take_over(self, transport: asyncio.Transport, leftover: bytes) -> None:
        """The handshake is answered on a transport somebody else has read the request from."""
        transport.pause_reading()  # how it is read changes with the protocol
        transport.set_protocol(self)
        self.connection_made(transport)
        if not transport.is_closing():
            transport.resume_reading()
        if leftover:
            self._received(leftover)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._transport = transport
        self._limit_waiting()
        if isinstance(self._opening, ClientHandshake):
            self._write([self._opening.request])
        elif self._opening is not None:
            self._answer(self._opening)

    def get_buffer(self, sizehint: int) -> memoryview:
        return read_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._received(read_buffer()[:nbytes])

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._how is None and isinstance(self._opening, ClientHandshake):
            self._how = Lost(ABNORMAL, "", self._opening.receive_eof())
        if self._how is None:
            self._how = Lost(ABNORMAL, "", exc)
        self._state = _State.CLOSING
        self._opening = None
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self.listener.websocket_lost(self, self._how)
        if self.on_closed is not None:
            self.on_closed(self._how)

    def pause_writing(self) -> None:
        self._pace.paused(asyncio.get_running_loop().time(), self._left())
        self.listener.pause_writing()

    def resume_writing(self) -> None:
        changed = self._pace.resumed(asyncio.get_running_loop().time(), self._left())
        self.listener.resume_writing()
        if changed:
            self._limit_waiting()  # it may pause us at once: that has to be the last word

    # For the listener

    @property
    def room(self) -> int:
        """Bytes that should be sent now, at most: more would wait in front of what comes later."""
        transport = self._transport
        waiting = transport.get_write_buffer_size() if transport else 0
        return max(self._pace.burst - waiting, LEAST_ROOM)

    @property
    def piece(self) -> int:
        """Bytes that one message should have at most."""
        return self._pace.piece

    def send(self, message: bytes) -> None:
        """A message leaves, unless the websocket is closing: then it is lost."""
        self.send_messages([(message, b"")])

    def send_messages(self, messages: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        """Messages leave together. Each comes in two parts, of which the second may be empty; it is
        not copied, so nobody may change it afterwards.
        """
        transport = self._transport
        if self._state is not _State.OPEN or transport is None:
            return
        parts: list[bytes | memoryview] = []
        for head, payload in messages:
            self._frame(parts, BINARY, head, payload)
        self._write(parts)
        if transport.get_write_buffer_size() > self._options.max_buffered_bytes:
            transport.abort()

    def close(self, code: int, reason: str = "") -> None:
        """The peer is told; the connection ends within `close_timeout`. Idempotent."""
        if self._state is _State.OPEN:
            payload = close_payload(code, reason)
            self._how = Lost(code, payload[2:].decode())
            self._send_frame(CLOSE, payload)
            self._state = _State.CLOSING
            self._end_sending()
        elif self._state is _State.CONNECTING:
            self._state = _State.CLOSING
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

    def _received(self, data: bytes | memoryview) -> None:
        if self._lost:
            return
        self.listener.bytes_received()
        if self._state is _State.OPEN:
            self._read(data)
        elif isinstance(self._opening, ClientHandshake) and self._state is _State.CONNECTING:
            self._shake_hands(self._opening, bytes(data))

    # Opening

    def _answer(self, answer: ServerAnswer) -> None:
        self._opening = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer.data)
        if answer.status == 101:
            self._state = _State.OPEN
            self.listener.websocket_opened(self)
            return
        self._refuse(TunnelRefused("no websocket request", answer_status=answer.status))

    def _shake_hands(self, handshake: ClientHandshake, data: bytes) -> None:
        try:
            rest = handshake.receive_data(data)
        except TunnelRefused as exc:
            self._refuse(exc)
            return
        if rest is None:
            return
        self._opening = None
        self._state = _State.OPEN
        self.listener.websocket_opened(self)
        if rest and self._state is _State.OPEN:
            self._read(rest)

    def _refuse(self, error: TunnelRefused) -> None:
        self._opening = None
        self._state = _State.CLOSING
        self._how = Lost(ABNORMAL, "", error)
        if self._transport is not None:
            self._transport.close()
            self._expect_close()

    # Open

    def _read(self, data: bytes | memoryview) -> None:
        for event in self._reader.receive_data(data):
            if self._state is not _State.OPEN:
                break  # what came before the peer's own close frame counts, but not after ours
            if type(event) is bytes or type(event) is list:
                self.listener.message_received(self, event)
            elif isinstance(event, PingReceived):
                self._pong(event.payload)
            elif isinstance(event, CloseReceived):
                self._peer_closed(event)
            elif isinstance(event, FramesBroken):
                self.close(event.code, event.reason)

    def _pong(self, payload: bytes) -> None:
        transport = self._transport
        self._send_frame(PONG, payload)
        if (
            transport is not None
            and transport.get_write_buffer_size() > self._options.max_buffered_bytes
        ):
            transport.abort()

    def _peer_closed(self, close: CloseReceived) -> None:
        self._how = Lost(close.code, close.reason)
        self._send_frame(CLOSE, close_payload(close.code, close.reason))
        self._state = _State.CLOSING
        self._end_sending()

    def _end_sending(self) -> None:
        """RFC 6455 §7.1.1: the server ends the connection, the client waits for that."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and not self._is_client:
            if transport.can_write_eof():
                # Closing with bytes unread would reset, and take our close frame away with it.
                with contextlib.suppress(OSError):  # the peer has reset it meanwhile
                    transport.write_eof()
            else:
                transport.close()
        if self._close_timer is None and not self._lost:
            self._expect_close()

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        parts: list[bytes | memoryview] = []
        self._frame(parts, opcode, payload)
        self._write(parts)

    def _frame(
        self,
        parts: list[bytes | memoryview],
        opcode: int,
        data: bytes,
        payload: bytes | memoryview = b"",
    ) -> None:
        """A frame with `data` and `payload` in it is added to `parts`."""
        key = self._next_key() if self._is_client else b""
        size = len(data)
        head = frame_head(opcode, size + len(payload), key)
        if key and size:
            data = apply_mask(data, key)
        if size <= JOIN_BYTES:
            parts.append(head + data)
        else:
            parts += (head, data)
        if payload:
            if key:
                turn = size & 3
                payload = apply_mask(payload, key[turn:] + key[:turn])
            parts.append(payload)

    def _next_key(self) -> bytes:
        used = self._keys_used
        if used >= len(self._keys):
            self._keys = os.urandom(KEY_BYTES)
            used = 0
        self._keys_used = used + 4
        return self._keys[used : used + 4]

    def _write(self, parts: list[bytes | memoryview]) -> None:
        transport = self._transport
        # uvloop raises on a write after close.
        if transport is None or transport.is_closing():
            return
        size = sum(map(len, parts))
        self._written += size
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)
        if size >= MEASURED_BYTES and not transport.get_write_buffer_size():
            now = asyncio.get_running_loop().time()
            if self._pace.sent(now, self._written, size):
                self._limit_waiting()

    def _left(self) -> int:
        """Bytes that have left the transport's own buffer."""
        transport = self._transport
        return self._written - (transport.get_write_buffer_size() if transport else 0)

    def _limit_waiting(self) -> None:
        """What waits in the transport or in the kernel cannot be overtaken by a later frame."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.set_write_buffer_limits(high=self._pace.burst - 1)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            keep_little_unsent(sock, self._pace.burst)

    def _expect_close(self) -> None:
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(self._options.close_timeout, self.abort)
