"""Copies bytes both ways between two transports, with half-close and backpressure.

Whatever the transports are (TCP, Unix socket, a stream inside a tunnel), a slow reader on one side
slows the writer on the other, an end of one direction leaves the other open, and a reset crosses.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast


class Relay:
    """Two transports joined. Ends when both directions have ended, or either side is lost."""

    __slots__ = ("_a", "_b", "_on_done")

    def __init__(
        self,
        a: asyncio.Transport,
        b: asyncio.Transport,
        on_done: Callable[[Relay], None] | None = None,
    ) -> None:
        self._on_done = on_done
        self._a = _Side(self, a)
        self._b = _Side(self, b)
        self._a.join(self._b)
        self._b.join(self._a)

    @property
    def bytes_from_a(self) -> int:
        return self._a.bytes_received

    @property
    def bytes_from_b(self) -> int:
        return self._b.bytes_received

    def start(self) -> None:
        for side in (self._a, self._b):
            side.transport.set_protocol(side)
        for side in (self._a, self._b):
            if not side.transport.is_closing():
                side.transport.resume_reading()

    def from_a(self, data: bytes) -> None:
        """Bytes of `a` that were read before the relay began."""
        self._a.data_received(data)

    def from_b(self, data: bytes) -> None:
        self._b.data_received(data)

    def eof_from_a(self) -> None:
        """`a` had ended its direction before the relay began."""
        self._a.eof_received()

    def eof_from_b(self) -> None:
        self._b.eof_received()

    def lost_a(self, error: Exception) -> None:
        """`a` was lost before the relay began, which nobody is told a second time."""
        self._a.connection_lost(error)

    def lost_b(self, error: Exception) -> None:
        self._b.connection_lost(error)

    def abort(self) -> None:
        reset(self._a.transport)
        reset(self._b.transport)

    def finished(self) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(self)


class _Side(asyncio.Protocol):
    takes_views = True
    """What a stream delivers is only passed on: it need not be copied into `bytes`."""

    __slots__ = ("_to", "bytes_received", "ended", "other", "relay", "transport")

    def __init__(self, relay: Relay, transport: asyncio.Transport) -> None:
        self.relay = relay
        self.transport = transport
        self.other: _Side
        self.ended = False
        """This side sends nothing more."""
        self.bytes_received = 0
        self._to = transport  # the other's, once joined

    def join(self, other: _Side) -> None:
        self.other = other
        self._to = other.transport

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        to = self._to
        if not to.is_closing():
            to.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        to = self.other.transport
        if self.other.ended or not to.can_write_eof():
            # Both directions are over, or half-close does not exist there (TLS): flush and end.
            to.close()
            return not self.other.ended
        if not to.is_closing():
            to.write_eof()
        return self.transport.can_write_eof()  # over TLS the end of one direction is that of both

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        to = self.other.transport
        if exc is not None or not self.ended:
            reset(to)
        else:
            to.close()
        self.relay.finished()


def relay(
    a: asyncio.Transport,
    b: asyncio.Transport,
    on_done: Callable[[Relay], None] | None = None,
) -> Relay:
    """`a` and `b` are joined; both are owned by the relay from now on.

    `on_done(relay)` runs once, when the first of the two is lost.
    """
    joined = Relay(a, b, on_done)
    joined.start()
    return joined


class Waiting(asyncio.Protocol):
    """Holds a connection still until somebody takes it over: reading is paused, bytes are kept."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received = b""
        self.ended = False
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.received += data
        # uvloop begins to read a dialled connection after `connection_made`, paused or not.
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc or ConnectionResetError("the connection was closed")


def relay_waiting(a: Waiting, b: Waiting, on_done: Callable[[Relay], None] | None = None) -> Relay:
    """`relay` for two connections that were held still: what each has sent so far goes first."""
    joined = relay(a.transport, b.transport, on_done)
    for side, pass_on, pass_end, pass_loss in (
        (a, joined.from_a, joined.eof_from_a, joined.lost_a),
        (b, joined.from_b, joined.eof_from_b, joined.lost_b),
    ):
        if side.received:
            pass_on(side.received)
        if side.ended:
            pass_end()
        if side.lost is not None:
            pass_loss(side.lost)
    return joined


_LINGER_NOT = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """The other end sees a reset: what came before cannot be taken for the whole.

    `transport.abort()` alone closes a socket in good order when nothing unread is left in it.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
