"""Websockets through us: nothing of them is looked at, and our end is said in their words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lapdev.net.http_server import HttpServer, Leaving, ServerOptions
from lapdev.wire.frame_boundary import GOING_AWAY
from tests.net.test_proxy import OneApp
from tests.support.raw import (
    AppConnection,
    RawClient,
    connect,
    listening,
    recording_app,
)

FRAME = b"\x82\x05hello"
BIG = b"\x82\x7e\x01\x2c" + b"x" * 300


class App:
    """Switches protocols, and sends what the test says."""

    def __init__(self, protocol: bytes) -> None:
        self.protocol = protocol
        self.connection: AppConnection
        self.open = asyncio.Event()
        self.done = asyncio.Event()

    async def script(self, connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: %s\r\n\r\n"
            % self.protocol
        )
        self.connection = connection
        self.open.set()
        await self.done.wait()


@asynccontextmanager
async def switched(
    protocol: bytes = b"websocket",
) -> AsyncIterator[tuple[RawClient, App, HttpServer]]:
    app = App(protocol)
    async with recording_app(app.script) as recording:
        server = HttpServer(OneApp(recording).handle, ServerOptions(drain_timeout=5.0))
        async with listening(server.connection) as port, connect(port) as client:
            client.send(
                b"GET /a HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
                % protocol
            )
            await client.read_until(b"\r\n\r\n")
            await app.open.wait()
            yield client, app, server
            app.done.set()
        await server.aclose()
    assert not server.switched


async def test_a_websocket_hears_1001_when_we_stop() -> None:
    async with switched() as (client, app, server):
        app.connection.send(FRAME)
        assert await client.read_exactly(len(FRAME)) == FRAME
        closing = asyncio.get_running_loop().create_task(server.aclose())
        assert await client.read_exactly(4) == GOING_AWAY
        client.send(b"\x88\x82mask" + bytes(a ^ b for a, b in zip(b"\x03\xe9", b"ma", strict=True)))
        await app.connection.read_until(b"mask")  # the app hears the answer, and ends
        app.done.set()
        assert await client.read_rest() == b""
        client.writer.close()
        await closing


async def test_the_word_waits_for_the_end_of_the_frame_that_is_being_sent() -> None:
    async with switched() as (client, app, server):
        app.connection.send(BIG[:100])
        assert await client.read_exactly(100) == BIG[:100]
        next(iter(server.switched)).leave()
        app.connection.send(BIG[100:] + FRAME)
        rest = await client.read_exactly(len(BIG) - 100 + 4)
        assert rest == BIG[100:] + GOING_AWAY, "and what comes after it goes nowhere"
        client.writer.close()


async def test_an_app_that_has_said_its_end_is_not_talked_over() -> None:
    async with switched() as (client, app, server):
        app.connection.send(b"\x88\x02\x03\xe8")
        assert await client.read_exactly(4) == b"\x88\x02\x03\xe8"
        next(iter(server.switched)).leave()
        app.connection.send(b"x")
        app.done.set()
        assert await client.read_rest() == b""
        client.writer.close()


async def test_a_websocket_may_go_on_for_as_long_as_it_was_given() -> None:
    async with switched() as (client, app, server):
        closing = asyncio.get_running_loop().create_task(
            server.aclose(Leaving(switched_timeout=4.0))
        )
        await asyncio.sleep(0)
        app.connection.send(FRAME)
        assert await client.read_exactly(len(FRAME)) == FRAME
        app.done.set()
        assert await client.read_rest() == b"", "it ended by itself, without a word of ours"
        client.writer.close()
        await closing


async def test_another_protocol_is_cut() -> None:
    async with switched(b"echo") as (client, _, server):
        closing = asyncio.get_running_loop().create_task(server.aclose())
        assert await client.read_rest() == b""
        await closing
