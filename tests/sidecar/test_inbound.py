"""A served port: what it counts as open, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.model import Protocol
from tests.support.raw import AppConnection, answer_every_request, connect, recording_app
from tests.support.sidecar import launch, running

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def echoes(connection: AppConnection) -> None:
    while True:
        connection.send(await connection.read_exactly(1))


async def test_open_connections_are_counted_whatever_they_speak() -> None:
    async with (
        recording_app(echoes) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
    ):
        port = sidecar.ports[0]
        async with connect(sidecar.addresses[0]) as raw, connect(sidecar.addresses[0]) as undecided:
            raw.send(b"\x01")
            await raw.read_exactly(1)
            undecided.send(b"G")
            assert port.open_connections == 2
        await sidecar.drain()
        assert port.open_connections == 0


async def test_a_stopping_port_closes_idle_connections_and_lets_raw_ones_finish() -> None:
    async with (
        recording_app(echoes) as app,
        running(launch(app.port, Protocol.TCP)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"a")
        assert await client.read_exactly(1) == b"a"
        draining = asyncio.get_running_loop().create_task(sidecar.drain())
        client.send(b"b")
        assert await client.read_exactly(1) == b"b"
        assert not draining.done()
        client.writer.close()
        async with asyncio.timeout(5):
            await draining


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.UNDECLARED])
async def test_an_idle_keep_alive_connection_does_not_hold_up_the_end(protocol: Protocol) -> None:
    async with (
        recording_app(answer_every_request) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(GET)
        await client.response()
        async with asyncio.timeout(5):
            await sidecar.drain()
        assert await client.read_rest() == b""


async def test_a_client_that_never_spoke_does_not_hold_up_the_end() -> None:
    async with (
        recording_app(echoes) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"GE")
        await client.writer.drain()
        async with asyncio.timeout(5):
            await sidecar.drain()
        assert await client.read_rest() == b""


async def test_nothing_is_accepted_after_the_end() -> None:
    async with recording_app(echoes) as app, running(launch(app.port)) as sidecar:
        await sidecar.drain()
        with pytest.raises(ConnectionRefusedError):
            async with connect(sidecar.addresses[0]):
                pass
