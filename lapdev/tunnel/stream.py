"""A byte stream inside a tunnel, as an asyncio transport.

Any protocol that works over TCP works over it: half-close, backpressure in both directions, and
`connection_lost` with the reason. While the tunnel's connection is away nothing happens to it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lapdev.errors import LapdevError, StreamRefused, StreamReset, TunnelError
from lapdev.wire.control import Target
from lapdev.wire.mux import MuxStream, Payload

if TYPE_CHECKING:
    from lapdev.tunnel.tunnel import Tunnel

MAX_EARLY_DATAGRAMS = 16
MAX_EARLY_BYTES = 65_536
"""Of a stream that is not accepted yet; the others are lost, as datagrams may be."""
FLUSHED_BYTES = 262_144
"""What leaves with a loop tick when nothing holds it up: a writer of that much is not paused."""
MERGE_BYTES = 4_096
"""Smaller pieces that nobody wants yet are joined up to this."""


class Stream(asyncio.Transport):
    """One stream of a `Tunnel`. Made by `Tunnel.open_stream`, or given to `stream_opened`."""

    __slots__ = (
        "_accept_waiter",
        "_closing",
        "_datagrams",
        "_delivering",
        "_eof_pending",
        "_eof_seen",
        "_eof_written",
        "_error",
        "_flush",
        "_held",
        "_high",
        "_lost",
        "_low",
        "_mux",
        "_protocol",
        "_reading_paused",
        "_session",
        "_tunnel",
        "_writing_paused",
        "target",
    )

    def __init__(
        self,
        tunnel: Tunnel,
        mux_stream: MuxStream,
        target: Target,
        protocol: asyncio.Protocol | None = None,
    ) -> None:
        super().__init__()
        self.target: Target | None = target
        self._tunnel = tunnel
        self._session = tunnel.mux
        self._flush = tunnel.flush
        self._mux = mux_stream
        self._protocol = protocol
        self._accept_waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._held: list[Payload] = []
        """Received, and not wanted yet: earns the peer no credit."""
        self._datagrams: list[bytes] | None = None
        """Came before the stream was accepted."""
        self._delivering = False
        self._eof_pending = False
        self._eof_seen = False
        self._eof_written = False
        self._reading_paused = False
        self._writing_paused = False
        self._closing = False
        self._lost = False
        self._high = tunnel.options.stream_high_water
        self._low = self._high // 2

    @property
    def stream_id(self) -> int:
        return self._mux.stream_id

    @property
    def accepted(self) -> bool:
        return self._mux.accepted

    # Opener

    async def wait_accepted(self) -> None:
        """The other end has taken the stream.

        Raises:
            StreamRefused: it has refused, and says why.
            TunnelError: the stream, or the tunnel with it, is gone.
        """
        if self._mux.accepted and self._error is None:
            return
        if self._lost or self._closing:
            raise self._error or TunnelError("the stream is closed")
        if self._accept_waiter is None:
            self._accept_waiter = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._accept_waiter)

    # Acceptor

    def accept(self, protocol: asyncio.Protocol) -> None:
        """`protocol` serves the stream; bytes that came earlier follow in the next loop tick."""
        self._protocol = protocol
        self._tunnel.accept_stream(self._mux)
        protocol.connection_made(self)
        if self._lost:
            self._loop().call_soon(protocol.connection_lost, self._error)
        else:
            self._deliver_soon()
            if self._datagrams is not None:
                self._loop().call_soon(self._deliver_datagrams)

    def refuse(self, error: LapdevError) -> None:
        """The opener gets StreamRefused with the error's cause and detail."""
        self.reset(error)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof_written:
            raise RuntimeError("write after write_eof")
        if self._closing or self._lost or not data:
            return
        mux, flush = self._mux, self._flush
        if mux.reset_cause:
            return
        self._session.write(mux, data if type(data) is bytes else bytes(data))
        if not flush.due:
            flush.soon()
        unsent = mux.end - mux.sent
        if unsent > self._high and not self._writing_paused:
            if unsent <= self._high + FLUSHED_BYTES:
                flush.filled(self)
            else:
                self.pause_if_full()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if self._eof_written or self._closing or self._lost:
            return
        self._eof_written = True
        self._tunnel.finish_stream(self._mux)

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._mux.unsent_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 4 * low if low is not None else self._tunnel.options.stream_high_water
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low

    def send_datagram(self, data: bytes) -> None:
        """Sent whole, and once, if at all: when too much waits, what is oldest is dropped.

        For streams whose target is one of datagrams; the other end's protocol gets them as
        `datagram_received(data)`.
        """
        if not self._closing and not self._lost:
            self._tunnel.send_datagram(self._mux, data)

    # Reading

    def pause_reading(self) -> None:
        """What arrives is kept and earns no credit: the peer may send one window more."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._deliver_soon()

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing

    # Ending

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def close(self) -> None:
        """What is written is still sent, then the end; what comes in is dropped."""
        if self._closing or self._lost:
            return
        if not self._mux.local and not self._mux.accepted:
            self.reset(StreamRefused("the stream was closed before it was accepted"))
            return
        self._closing = True
        self._held.clear()
        self._tunnel.close_stream(self._mux)
        if self._mux.unsent_bytes:
            self._mux.wake_below = 0
        else:
            self._lose_soon(None)

    def abort(self) -> None:
        """Both directions end at once; the peer sees a reset."""
        self._reset("aborted", "", None)

    def reset(self, error: LapdevError) -> None:
        """Like `abort`, and the peer sees the error's cause and detail."""
        self._reset(error.cause, error.detail, error)

    # asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None, "the stream is not accepted yet"
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "tunnel":
            return self._tunnel
        if name == "target":
            return self.target
        return default

    # For the tunnel

    def data_arrived(self, data: Payload) -> None:
        if self._closing or self._lost:
            return
        if self._reading_paused or self._held or self._delivering or self._protocol is None:
            self._hold(data)
        else:
            self._deliver(data)

    def datagram_arrived(self, data: bytes) -> None:
        if self.is_closing():
            return
        if self._protocol is None or self._datagrams is not None:
            early = self._datagrams = self._datagrams or []
            if sum(map(len, early), len(data)) <= MAX_EARLY_BYTES:
                early.append(data)
                del early[MAX_EARLY_DATAGRAMS:]
            return
        receive = getattr(self._protocol, "datagram_received", None)
        if receive is None:
            return  # nobody there has a use for datagrams
        try:
            receive(data)
        except Exception as exc:
            self._tunnel.stream_failed(self, exc)

    def eof_arrived(self) -> None:
        if self._protocol is None or self._reading_paused or self._held or self._delivering:
            self._eof_pending = True
        else:
            self._deliver_eof()

    def accept_arrived(self) -> None:
        if self._accept_waiter is not None and not self._accept_waiter.done():
            self._accept_waiter.set_result(None)
        notify = getattr(self._protocol, "stream_accepted", None)
        if notify is not None and not self.is_closing():
            notify()

    def end_arrived(self, cause: str, detail: str, refused: bool) -> None:
        """The peer has reset the stream."""
        error = StreamRefused(detail) if refused else StreamReset(detail)
        error.cause = cause
        self.lose(error)

    def pause_if_full(self) -> None:
        """The protocol is asked to write no more while more than the high water is unsent."""
        mux = self._mux
        if mux.end - mux.sent <= self._high or self._writing_paused or self.is_closing():
            return
        self._writing_paused = True
        mux.wake_below = self._low
        if self._protocol is not None:
            self._protocol.pause_writing()

    def room_arrived(self) -> None:
        """No more than `wake_below` bytes are unsent."""
        if self._closing:
            self._lose_soon(None)
        elif self._writing_paused:
            self._writing_paused = False
            if self._protocol is not None:
                self._protocol.resume_writing()

    def lose(self, error: Exception | None) -> None:
        """The stream is over: the protocol is told, once."""
        if self._lost:
            return
        self._lost = True
        self._error = error
        self._held.clear()
        waiter = self._accept_waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error or TunnelError("the stream was closed"))
            waiter.exception()  # nobody may be waiting any more
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    # Inside

    def _reset(self, cause: str, detail: str, error: Exception | None) -> None:
        if self._lost:
            return
        self._closing = True
        self._tunnel.reset_stream(self._mux, cause, detail)
        self._lose_soon(error)

    def _lose_soon(self, error: Exception | None) -> None:
        # Never inside a call of the protocol: it would be told before that call returns.
        self._loop().call_soon(self.lose, error)

    def _deliver_soon(self) -> None:
        if (self._held or self._eof_pending) and not self._delivering:
            self._delivering = True
            self._loop().call_soon(self._deliver_held)

    def _hold(self, data: Payload) -> None:
        # One by one, the smallest pieces would take many times their size.
        if self._held and len(self._held[-1]) + len(data) <= MERGE_BYTES:
            self._held[-1] = b"".join((self._held[-1], data))
        else:
            self._held.append(data)

    def _deliver_held(self) -> None:
        self._delivering = False
        held, count = self._held, 0
        while count < len(held) and not self._reading_paused and not self.is_closing():
            self._deliver(held[count])
            count += 1
        del held[:count]
        if self._eof_pending and not (self._held or self._reading_paused or self.is_closing()):
            self._eof_pending = False
            self._deliver_eof()

    def _deliver_datagrams(self) -> None:
        early, self._datagrams = self._datagrams, None
        for data in early or ():
            self.datagram_arrived(data)

    def _deliver(self, data: Payload) -> None:
        protocol = self._protocol
        if type(data) is not bytes and not getattr(protocol, "takes_views", False):
            data = bytes(data)
        try:
            protocol.data_received(data)  # type: ignore[union-attr,arg-type]  # asked before
        except Exception as exc:
            self._tunnel.stream_failed(self, exc)
            return
        self._session.consumed(self._mux, len(data))
        if not self._flush.due:
            self._flush.soon()

    def _deliver_eof(self) -> None:
        protocol = self._protocol
        assert isinstance(protocol, asyncio.Protocol)
        if self._eof_seen or self.is_closing():
            return
        self._eof_seen = True
        try:
            keep_open = protocol.eof_received()
        except Exception as exc:
            self._tunnel.stream_failed(self, exc)
            return
        if not keep_open:
            self.close()

    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._tunnel.loop
