"""The recording application: what runs in the pods of the world under test.

HTTP on 8080 (`/small`, `/post`, `/down`, `/up`), WebSocket echo on 8081, raw TCP echo on 8082, all
on $POD_IP. Uploads are checked here, byte by byte. Each executed POST is a line in $JOURNAL.
"""

from __future__ import annotations

import asyncio
import os
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.faults.keyed import KeyedReader, keyed
from tests.faults.pacing import Pace

PIECE_BYTES = 65_536
HTTP_PORT, WEBSOCKET_PORT, TCP_PORT = 8080, 8081, 8082


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def body(self) -> AsyncIterator[bytes]:
        """Its pieces, as they come. Raises IncompleteReadError when it was cut short."""
        if self.headers.get("expect") == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readline()).split(b";")[0] or b"x", 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            piece = await self.reader.read(min(left, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    def answer(self, body: bytes, status: str = "200 OK") -> None:
        length = len(body)
        self.writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + body)


async def small(request: Request) -> None:
    """GET: `bytes` bytes of stream `name`, at once."""
    async for _ in request.body():
        pass
    request.answer(keyed(request.query["name"], 0, int(request.query["bytes"])))


async def post(request: Request) -> None:
    """POST: executed, that is written down, when the body is complete and right."""
    name = request.query["name"]
    check = KeyedReader(name)
    async for piece in request.body():
        check.feed(piece)
    wrong = check.wrong_at >= 0 or check.offset != int(request.query["bytes"])
    journal(f"{'wrong' if wrong else 'executed'} {name}")
    request.answer(name.encode())


async def down(request: Request) -> None:
    """GET: `bytes` bytes at `rate` bytes a second; chunked, or with a length, as `chunked` says."""
    name, total = request.query["name"], int(request.query["bytes"])
    chunked = request.query.get("chunked") == "1"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
    request.writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
    pace = Pace(float(request.query["rate"]))
    sent = 0
    try:
        while sent < total:
            piece = keyed(name, sent, min(PIECE_BYTES, total - sent))
            frame = f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece
            request.writer.write(frame)
            await request.writer.drain()
            sent += len(piece)
            await pace.spent(len(piece))
    finally:
        journal(f"sent {name} {sent}")
    if chunked:
        request.writer.write(b"0\r\n\r\n")


async def up(request: Request) -> None:
    """POST: takes a body of any length; the answer says how much of it was right."""
    name = request.query["name"]
    check = KeyedReader(name)
    async for piece in request.body():
        check.feed(piece)
    if check.wrong_at >= 0:
        journal(f"wrong {name}")
    request.answer(f"{check.offset} {check.wrong_at}".encode())


HANDLERS: dict[str, Callable[[Request], Awaitable[None]]] = {
    "/small": small,
    "/post": post,
    "/down": down,
    "/up": up,
}


def journal(line: str) -> None:
    """One line, at once and whole, whatever happens to this process next."""
    with open(os.environ["JOURNAL"], "a") as file:  # noqa: PTH123 - as short as it can be
        file.write(line + "\n")


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            pairs = (line.partition(":") for line in lines[1:-2])
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            url = urllib.parse.urlsplit(target)
            query = dict(urllib.parse.parse_qsl(url.query))
            request = Request(method, url.path, query, headers, reader, writer)
            await HANDLERS[url.path](request)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the other end left, in the middle of something or not
    finally:
        # An answer that was cut short must not look complete: no clean end.
        writer.transport.abort() if reader.exception() else writer.close()


async def echo_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


async def echo_websocket(connection: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def main() -> None:
    host = os.environ["POD_IP"]
    await asyncio.start_server(serve_http, host, HTTP_PORT, limit=PIECE_BYTES)
    await asyncio.start_server(echo_tcp, host, TCP_PORT, limit=PIECE_BYTES)
    async with serve(echo_websocket, host, WEBSOCKET_PORT, ping_interval=None, compression=None):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
