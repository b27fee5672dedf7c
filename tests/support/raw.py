"""Raw HTTP ends for tests: a client that writes bytes, an app whose every answer is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from lapdev.net.listener import listen

PATIENCE = 5.0
"""Seconds after which a test that waits has failed."""


@dataclass(slots=True)
class RawClient:
    """One TCP connection to a server under test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def read_exactly(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def read_rest(self) -> bytes:
        """Everything until the other end closes (a reset counts as closed)."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one response with Content-Length or chunked framing."""
        head = await self.read_until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(lines[0].split(" ")[1])
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.read_until(b"\r\n"), 16):
                body += (await self.read_exactly(size + 2))[:-2]
            await self.read_exactly(2)
        elif status not in (101, 204, 304):
            body = await self.read_exactly(int(headers.get("content-length", "0")))
        return status, headers, body


@asynccontextmanager
async def connect(port: int | str) -> AsyncIterator[RawClient]:
    """A connection to 127.0.0.1:port (or to `host:port`), closed afterwards."""
    host, _, number = str(port).rpartition(":")
    reader, writer = await asyncio.open_connection(host or "127.0.0.1", int(number))
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@dataclass(slots=True)
class RecordingApp:
    """A raw TCP app: stores every byte, and leaves answering to its script."""

    port: int = 0
    connections: list[bytearray] = field(default_factory=list)
    """What each connection has sent so far, in the order they were accepted."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class AppConnection:
    """One connection as the app's script sees it."""

    def __init__(
        self, app: RecordingApp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.index = len(app.connections)
        self._seen = bytearray()
        app.connections.append(self._seen)

    async def read_until(self, end: bytes) -> bytes:
        data = await self.reader.readuntil(end)
        self._seen += data
        return data

    async def read_exactly(self, size: int) -> bytes:
        data = await self.reader.readexactly(size)
        self._seen += data
        return data

    async def read_head(self) -> bytes:
        return await self.read_until(b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def answer(self, body: bytes, *extra: bytes) -> None:
        """A 200 with `body`."""
        fields = b"".join(line + b"\r\n" for line in extra)
        self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s" % (len(body), fields, body))


Script = Callable[[AppConnection], Awaitable[None]]


@asynccontextmanager
async def recording_app(script: Script, port: int = 0) -> AsyncIterator[RecordingApp]:
    """An app on loopback; `script` runs once per connection, and its end closes the connection."""
    app = RecordingApp()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(AppConnection(app, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the peer left, or the test is over
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    app.port = server.sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def answer_every_request(connection: AppConnection) -> None:
    """Answers each GET with its own request line."""
    while True:
        head = await connection.read_head()
        connection.answer(head.split(b"\r\n", 1)[0])


@asynccontextmanager
async def listening(factory: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[int]:
    """The port of a listener on loopback that serves `factory`."""
    listener = await listen("127.0.0.1:0", factory)
    try:
        yield int(str(listener.address).rpartition(":")[2])
    finally:
        await listener.aclose()
