"""A tunnel's other end made of bytes: a websocket written by hand, frames packed by hand.

Nothing of the product is used here, so that a test which plays the peer holds whatever the
product's own ends are made of: bytes go in, messages and a close code come out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgpack

PATIENCE = 20.0
"""Seconds after which a test that waits has failed."""
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK = b"\x37\xfa\x21\x3d"

UPGRADE = (
    "Host: lapdev.test",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: lapdev.tunnel.v1",
)
"""The fields of a good upgrade request, but for the credential."""


def pack(*frames: object) -> bytes:
    """One message: the frames one after the other."""
    return b"".join(msgpack.packb(frame, use_bin_type=True) for frame in frames)


def unpack(message: bytes) -> list[list[Any]]:
    unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
    unpacker.feed(message)
    return list(unpacker)


def masked(data: bytes) -> bytes:
    """XOR with the mask, as integers: a loop over a megabyte takes a tenth of a second."""
    size = len(data)
    mask = (_MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def websocket_frame(
    payload: bytes, opcode: int = BINARY, *, first: int | None = None, mask: bool = True
) -> bytes:
    """A frame with FIN set; `first` replaces its whole first byte."""
    head = bytes([0x80 | opcode if first is None else first])
    flag, size = (0x80 if mask else 0), len(payload)
    if size < 126:
        head += bytes([flag | size])
    elif size < 65_536:
        head += bytes([flag | 126]) + struct.pack(">H", size)
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", size)
    return head + (_MASK + masked(payload) if mask else payload)


@dataclass(slots=True)
class Closed(Exception):  # noqa: N818 - it is an answer, and often the wanted one
    """The websocket ended."""

    code: int
    """1006: without a close frame."""
    reason: str = ""


@dataclass
class RawTunnel:
    """One websocket, either end of it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    mask: bool = True
    """A client masks, a server does not."""
    frames: list[list[Any]] = field(default_factory=list)
    """Every tunnel frame that was taken so far."""
    _unread: deque[list[Any]] = field(default_factory=deque)

    # Out

    def send_bytes(self, data: bytes) -> None:
        self.writer.write(data)

    def send_message(self, message: bytes) -> None:
        self.send_bytes(websocket_frame(message, mask=self.mask))

    def send(self, *frames: object) -> None:
        """The tunnel frames leave as one message."""
        self.send_message(pack(*frames))

    # In

    async def websocket_frame(self) -> tuple[int, bool, bytes]:
        """(opcode, final, payload); raises Closed when the bytes end."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            key = await self.reader.readexactly(4) if second & 0x80 else b""
            payload = await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise Closed(1006) from exc
        if key:
            payload = bytes(map(int.__xor__, payload, itertools.cycle(key)))
        return first & 0x0F, bool(first & 0x80), payload

    async def message(self) -> bytes:
        """The next message; raises Closed."""
        parts: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while True:
                opcode, final, payload = await self.websocket_frame()
                if opcode == CLOSE:
                    code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                    raise Closed(code, payload[2:].decode())
                if opcode in (BINARY, CONTINUATION):
                    parts.append(payload)
                    if final:
                        return b"".join(parts)

    async def frame(self) -> list[Any]:
        """The next tunnel frame; raises Closed."""
        while not self._unread:
            self._unread.extend(unpack(await self.message()))
        frame = self._unread.popleft()
        self.frames.append(frame)
        return frame

    async def until(self, wanted: Callable[[list[Any]], bool]) -> list[Any]:
        """The next frame that `wanted` holds for; those before it are in `frames`."""
        while not wanted(frame := await self.frame()):
            continue
        return frame

    async def next_of(self, kind: int, stream: int | None = None) -> list[Any]:
        """The next frame of that type (and stream)."""
        return await self.until(lambda f: f[0] == kind and (stream is None or f[1] == stream))

    async def closed(self) -> Closed:
        """How the websocket ends; what still comes before is in `frames`."""
        try:
            while True:
                await self.frame()
        except Closed as exc:
            return exc

    def of(self, kind: int, stream: int | None = None) -> list[list[Any]]:
        """The frames of that type (and stream) that have come."""
        return [f for f in self.frames if f[0] == kind and (stream is None or f[1] == stream)]

    async def aclose(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        self.writer.transport.abort()


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    limit = 2**22
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=limit)
    host, _, port = address.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=limit)


def upgrade_request(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *UPGRADE, *fields, "", ""]).encode()


@asynccontextmanager
async def raw_tunnel(
    address: str,
    hello: dict[str, Any] | None = None,
    *,
    path: str = "/_lapdev/tunnel/manager",
    fields: tuple[str, ...] = ("Authorization: Bearer s3cret",),
) -> AsyncIterator[RawTunnel]:
    """A dialling end, upgraded; with `hello` welcomed too (WELCOME is the first of `frames`)."""
    reader, writer = await _open(address)
    peer = RawTunnel(reader, writer)
    try:
        peer.send_bytes(upgrade_request(path, *fields))
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if hello is not None:
            peer.send([0, hello_map(**hello)])
            await peer.next_of(1)
        yield peer
    finally:
        await peer.aclose()


def hello_map(**changes: Any) -> dict[str, Any]:
    """HELLO's map: a manager's first connection, but for the changes."""
    fields: dict[str, Any] = {"role": "manager", "instance": "raw-1", "session": "raw-session"}
    fields |= {"resume": False, "link": 0, "replaces": "", "version": 1}
    return fields | changes


@asynccontextmanager
async def raw_acceptor(
    address: str, serve: Callable[[RawTunnel], Awaitable[None]]
) -> AsyncIterator[None]:
    """An accepting end on a Unix socket; `serve` plays it, once per connection, after the 101."""
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        peer = RawTunnel(reader, writer, mask=False)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            peer.send_bytes(_switching(head))
            await serve(peer)
        except (Closed, asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the product's end left, or the test is over
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(accept, address.removeprefix("unix:"), limit=2**22)
    try:
        yield
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _switching(head: bytes) -> bytes:
    lines = head.split(b"\r\n")[1:]
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    proof = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: lapdev.tunnel.v1\r\n\r\n" % proof
    )
