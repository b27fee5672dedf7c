"""A byte relay between two processes, with toxics: it delays, slices, throttles, stalls, resets.

It ends TCP on both sides, and so hides how TCP itself behaves when packets are lost; for delay and
loss of packets there is tests/support/packet_path.py.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.faults.pacing import Pace

READ_BYTES = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Toxics:
    """What the relay does to what passes; may be changed at any moment."""

    latency: float = 0.0
    """Seconds each piece is late."""
    jitter: float = 0.0
    """Up to so many seconds more or less; pieces keep their order."""
    rate: float = 0.0
    """Bytes a second in each direction; 0: no limit."""
    slices: tuple[int, int] = (0, 0)
    """Each write is of so many bytes, at least and at most; (0, 0): as they come."""
    close_delay: float = 0.0
    """Seconds an end of one direction is told late."""
    limit: int = 0
    """A connection is reset when so many bytes have passed in one direction; 0: never."""


@dataclass(slots=True)
class Relay:
    """Listens, and dials `to` for each connection."""

    to: tuple[str, int]
    toxics: Toxics = field(default_factory=Toxics)
    random: random.Random = field(default_factory=random.Random)
    address: tuple[str, int] = ("", 0)
    accepted: int = 0
    """Connections so far."""
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _down: bool = False
    _open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._open)

    def stall(self) -> None:
        """Nothing passes any more; what comes is not read."""
        self._flowing.clear()

    def flow(self) -> None:
        """What was held up goes on."""
        self._flowing.set()

    def reset_all(self) -> None:
        """Both ends of every connection get a RST."""
        for writers in list(self._open):
            for writer in writers:
                reset(writer)

    def go_down(self) -> None:
        """Every connection is reset, and new ones as soon as they come."""
        self._down = True
        self.reset_all()

    def come_up(self) -> None:
        self._down = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._down:
            reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.to, limit=READ_BYTES)
        except OSError:
            reset(writer)
            return
        pair = (writer, far_writer)
        self._open.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                for source, sink in ((reader, far_writer), (far_reader, writer)):
                    both.create_task(self._pump(source, sink))
            for end in pair:
                end.close()  # what is still to be sent leaves before
        except* OSError:
            pass
        finally:
            self._open.discard(pair)
            for end in pair:
                if not end.is_closing():
                    reset(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Returns at the end of the source. Raises OSError when either end is reset."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._deliver(late, sink))
            due, passed, now = 0.0, 0, asyncio.get_running_loop().time
            while data := await source.read(READ_BYTES):
                passed += len(data)
                if self.toxics.limit and passed > self.toxics.limit:
                    raise ConnectionResetError
                delay = self.toxics.latency + self.random.uniform(-1, 1) * self.toxics.jitter
                due = max(due, now() + delay)
                await late.put((due, data))
            await late.put((max(due, now() + self.toxics.close_delay), b""))

    async def _deliver(
        self, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        pace, rate = None, 0.0
        while True:
            due, data = await late.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._flowing.wait()
            if not data:
                sink.write_eof()
                return
            if rate != self.toxics.rate:
                rate = self.toxics.rate
                pace = Pace(rate) if rate else None
            for piece in self._sliced(data):
                sink.write(piece)
                await sink.drain()
            if pace is not None:
                await pace.spent(len(data))

    def _sliced(self, data: bytes) -> list[bytes]:
        least, most = self.toxics.slices
        if not most:
            return [data]
        pieces = []
        while data:
            size = self.random.randint(least, most)
            pieces.append(data[:size])
            data = data[size:]
        return pieces


def reset(writer: asyncio.StreamWriter) -> None:
    """The connection ends with a RST. Idempotent."""
    own = writer.get_extra_info("socket")
    with suppress(OSError, ValueError):  # it is closed already
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def relay(
    to: tuple[str, int], seed: int = 0, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Relay]:
    """A relay to `to`, which listens; at the end every connection is reset."""
    made = Relay(to, random=random.Random(seed))
    made.flow()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await made.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the relay ends
        finally:
            running.discard(task)

    server = await asyncio.start_server(serve, host, port, limit=READ_BYTES)
    made.address = server.sockets[0].getsockname()[:2]
    try:
        yield made
    finally:
        server.close()
        made.reset_all()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
