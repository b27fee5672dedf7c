"""How much lies between a writer and a reader that does not read."""

from __future__ import annotations

import asyncio
import socket

from lapdev.net.address import TcpAddress
from lapdev.net.buffers import NEAR_RECEIVE_BYTES, UNSENT_BYTES
from lapdev.net.listener import bind_tcp, dial
from lapdev.net.relay import Waiting

SLACK = 2
"""The kernel counts what packets need beside their bytes, and takes a piece whole."""


async def taken(writer: socket.socket) -> int:
    """Bytes that are taken of a writer until nothing moves any more."""
    loop, total = asyncio.get_running_loop(), 0
    piece = bytes(65_536)
    try:
        while True:
            async with asyncio.timeout(0.3):
                await loop.sock_sendall(writer, piece)
            total += len(piece)
    except TimeoutError:
        return total


async def test_who_dials_near_by_is_not_sent_much_that_it_does_not_read() -> None:
    server = bind_tcp(TcpAddress("127.0.0.1", 0))
    transport, _ = await dial(f"127.0.0.1:{server.getsockname()[1]}", Waiting)
    far, _ = await asyncio.get_running_loop().sock_accept(server)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
    assert await taken(far) < SLACK * NEAR_RECEIVE_BYTES + 262_144
    transport.abort()
    far.close()
    server.close()


async def test_what_an_accepted_connection_does_not_send_stays_with_the_writer() -> None:
    server, client = bind_tcp(TcpAddress("127.0.0.1", 0)), socket.socket()
    loop = asyncio.get_running_loop()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    await loop.sock_connect(client, server.getsockname())
    near, _ = await loop.sock_accept(server)
    assert 0 < await taken(near) < SLACK * UNSENT_BYTES + 131_072
    for sock in (near, client, server):
        sock.close()
