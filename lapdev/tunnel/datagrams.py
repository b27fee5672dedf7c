"""Joins streams of datagrams to UDP sockets: outlet (stream → dialled), inlet (socket → streams).

UDP has no connections: an inlet gives every sender's address a stream of its own, and both ends
give a stream up when nothing has travelled on it for a while. Nothing is resent or put in order,
and empty datagrams, which asyncio does not send, get lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from lapdev.errors import ConnectFailed, LapdevError
from lapdev.tunnel.stream import Stream

IDLE_TIMEOUT = 60.0
"""Seconds without a datagram either way. RFC 4787 asks NATs for two minutes; DNS needs seconds."""
MAX_FLOWS = 1_024
"""Senders of one inlet at a time; the one that was quiet for longest makes room."""

Address = tuple[Any, ...]
OpenStream = Callable[[asyncio.Protocol], Stream]
OnDone = Callable[["Flow"], None]


class Flow(asyncio.Protocol):
    """The stream's protocol: what comes is passed on, and silence ends it."""

    def __init__(
        self, pass_on: Callable[[bytes], None], on_done: OnDone, idle_timeout: float = IDLE_TIMEOUT
    ) -> None:
        self.bytes_in = 0
        """From the stream."""
        self.bytes_out = 0
        self.last_used = 0.0
        self._pass_on = pass_on
        self._on_done = on_done
        self._idle_timeout = idle_timeout
        self._stream: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    def send(self, data: bytes) -> None:
        """To the stream's other end."""
        if self._stream is not None:
            self._used()
            self.bytes_out += len(data)
            self._stream.send_datagram(data)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    # The stream's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast(Stream, transport)
        self._used()
        self._arm(self._idle_timeout)

    def datagram_received(self, data: bytes) -> None:
        self._used()
        self.bytes_in += len(data)
        self._pass_on(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream = None
        if self._timer is not None:
            self._timer.cancel()
        self._on_done(self)

    # Inside

    def _used(self) -> None:
        self.last_used = asyncio.get_running_loop().time()

    def _arm(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        quiet = asyncio.get_running_loop().time() - self.last_used
        if quiet >= self._idle_timeout:
            self.close()
        else:
            self._arm(self._idle_timeout - quiet)


class _Socket(asyncio.DatagramProtocol):
    """A UDP socket that is connected to the outlet's target."""

    def __init__(self) -> None:
        self.flow: Flow | None = None

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if self.flow is not None:
            self.flow.send(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there now: a datagram is lost, as datagrams may be."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.flow is not None:
            self.flow.close()


async def datagram_outlet(
    stream: Stream,
    address: tuple[str, int],
    on_done: OnDone = lambda _: None,
    idle_timeout: float = IDLE_TIMEOUT,
) -> None:
    """The stream is accepted and joined to a UDP socket towards `address`, or refused.

    Returns when the two are joined; `on_done` runs when they part.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, socket = await loop.create_datagram_endpoint(_Socket, remote_addr=address)
    except OSError as exc:
        stream.refuse(ConnectFailed(exc.strerror or str(exc)))
        return
    except asyncio.CancelledError:
        stream.abort()
        raise
    if stream.is_closing():
        transport.abort()
        return

    def parted(flow: Flow) -> None:
        socket.flow = None
        transport.close()
        on_done(flow)

    socket.flow = Flow(transport.sendto, parted, idle_timeout)
    stream.accept(socket.flow)


class DatagramInlet(asyncio.DatagramProtocol):
    """Protocol of a UDP socket: each sender's datagrams travel on a stream of its own."""

    def __init__(
        self,
        open_stream: OpenStream,
        *,
        idle_timeout: float = IDLE_TIMEOUT,
        max_flows: int = MAX_FLOWS,
    ) -> None:
        """`open_stream(protocol)` may raise LapdevError: then the datagram is lost."""
        self.flows: dict[Address, Flow] = {}
        self._open_stream = open_stream
        self._idle_timeout = idle_timeout
        self._max_flows = max_flows
        self._transport: asyncio.DatagramTransport | None = None

    def close(self) -> None:
        """The socket is closed, and every stream with it. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        flow = self.flows.get(addr) or self._open(addr)
        if flow is not None:
            flow.send(data)

    def error_received(self, exc: Exception) -> None:
        """A sender that is gone does not hear the answer."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for flow in list(self.flows.values()):
            flow.close()

    def _open(self, address: Address) -> Flow | None:
        if len(self.flows) >= self._max_flows:
            quietest = min(self.flows, key=lambda known: self.flows[known].last_used)
            self.flows.pop(quietest).close()

        def answer(data: bytes) -> None:
            if self._transport is not None:
                self._transport.sendto(data, address)

        def done(flow: Flow) -> None:
            if self.flows.get(address) is flow:
                del self.flows[address]

        flow = Flow(answer, done, self._idle_timeout)
        try:
            self._open_stream(flow)
        except LapdevError:
            return None
        self.flows[address] = flow
        return flow
